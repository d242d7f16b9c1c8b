-- Every key of lsyncd 2.2.3 that people use.
settings {
	logfile        = "/var/log/lsyncd.log",
	pidfile        = "/run/lsyncd.pid",
	statusFile     = "/var/log/lsyncd.status",
	statusInterval = 5,
	nodaemon       = false,
	insist         = true,
	inotifyMode    = "CloseWrite or Modify",
	maxProcesses   = 8,
	maxDelays      = 100,
	colour         = "red",
}
settings.logident = "lsyncd"

local hosts = { "web1", "web2" }
for _, host in ipairs(hosts) do
	sync {
		default.rsync,
		source      = "/data/www/",
		target      = host .. "::www",
		delay       = 5,
		maxDelays   = 10,
		exclude     = { "*.tmp", "/cache/", "a/b", ".git", "x{y}" },
		excludeFrom = "exclude.lst",
		rsync       = {
			archive       = true,
			compress      = true,
			whole_file    = false,
			bwlimit       = 2000,
			timeout       = 30,
			password_file = "/etc/lsyncd.pas",
			verbose       = true,
			owner         = false,
			binary        = "/opt/rsync",
			copy_links    = true,
			_extra        = { "--numeric-ids", "--delete-excluded" },
		},
	}
end

sync {
	default.rsyncssh,
	source    = "/data/blog",
	host      = "sync@web3",
	targetdir = "/srv/blog/",
	delete    = "running",
	init      = false,
	ssh       = {
		port         = 2222,
		identityFile = "/etc/key",
		options      = { StrictHostKeyChecking = "yes", UserKnownHostsFile = "/etc/known hosts" },
		binary       = "/opt/ssh",
	},
	xargs     = { binary = "/usr/bin/xargs" },
	onCreate  = function(event) spawn(event, "/bin/true") end,
	filter    = { "- *.o" },
}

sync { default.direct, source = "/data/local", target = "/mnt/copy", delete = false, maxProcesses = 1, rsync = { perms = true } }
