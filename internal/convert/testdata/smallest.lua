settings { statusFile = "/tmp/lsyncd.stat", statusInterval = 1 }
sync { default.rsync, source = "src", target = "trg" }
