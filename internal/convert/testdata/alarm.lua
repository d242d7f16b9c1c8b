-- A sync that does nothing by itself, and an alarm.
settings.nodaemon = true
local function drop(inlet)
	inlet.discardEvent(inlet.getEvent())
end
local inlet = sync { source = "/etc/app/", action = drop }
local function ring(time, extra)
	spawn(extra.inlet.createBlanketEvent(), "/bin/echo", "ring")
	alarm(time + 5, ring, extra)
end
alarm(now() + 5, ring, { inlet = inlet })
