-- A configuration that wants a library.
require("socket")
sync { default.rsync, source = "/src", target = "/trg" }
