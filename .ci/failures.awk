# The output of tests that failed, out of that of "go test -v".
/^=== (RUN|CONT|NAME|PAUSE) / { name = $3; next }
/^ *--- (PASS|SKIP|FAIL): / { if ($2 == "FAIL:") { print; printf "%s", said[$3] } delete said[$3]; next }
/^(panic:|fatal error:|WARNING: DATA RACE|FAIL|ok |exit status)/ { loud = !/^(ok|FAIL|exit)/ }
loud { print; next }
{ said[name] = said[name] $0 "\n" }
