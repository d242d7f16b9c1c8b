-- default.rsync with something that is done after it.
local post = {
	default.rsync,
	checkgauge = { default.rsync.checkgauge, host = true, targetdir = true, postcmd = true },
	maxProcesses = 1,
	action = function(inlet)
		return default.rsync.action(inlet)
	end,
	collect = function(agent, exitcode)
		return default.collect(agent, exitcode)
	end,
}
sync { post, delay = 3, source = "/path/to/src", host = "localhost", targetdir = "/path/to/trg", postcmd = "/usr/local/bin/post" }
