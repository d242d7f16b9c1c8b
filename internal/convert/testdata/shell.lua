-- Commands of one's own for each event.
prefix = ""
shell = {
	delay     = 0,
	onStartup = [[cp -r ^source* ^target]],
	onCreate  = prefix .. [[cp -r ^sourcePath ^targetPathdir]],
	onMove    = true,
}
sync { shell, source = "src", target = "/path/to/trg/", password = "s3cret" }
