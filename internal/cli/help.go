package cli

// help is what -h, --help and help print.
const help = `sersync replicates directory trees from one server to many, in real time.

Usage:
  sersync COMMAND ...                    the commands below
  sersync [-r] [-d] [-o FILE] [-n N] [-m NAME]
                                         the flags of sersync 2.5.4

Commands:
  run CONFIG [-d] [-r] [--fill] [-n N]   replicate what a configuration says (confxml.xml or YAML)
  sync SRC TARGET... [--once|--dry-run]  replicate one directory, without a configuration
  receive --config FILE | --root DIR --secret-file FILE [--listen HOST:PORT]
                                         be the target: take what other sersyncs send, in the place of rsync --daemon
  verify [--content] [--repair] [--source S] [--target T] [--json] [CONFIG]
                                         say in what the targets differ, and have it repaired; 0 equal, 1 different, 2 trouble
  explain CONFIG PATH...                 say which rule keeps or drops a path
  check CONFIG [--offline]               say what is wrong with a configuration, and what it does
  doctor [-o FILE] [--probe] [--json]    say what is wrong with this machine, its limits, and the targets, with remedies
  status [--json] [CONFIG]               say what a running sersync does, and what is not there yet
  wait [--target T] [--timeout D] [CONFIG]
                                         return when all that was written before is on the targets
  sweep [--source S] [--target T] [--wait] [CONFIG]
                                         compare targets with their source now, and send what differs
  pause [--source S] [--target T] [CONFIG]
                                         send nothing to targets for a while
  resume [--source S] [--target T] [CONFIG]
                                         go on with them
  deletes list|approve [--source S] [CONFIG]
                                         removals that are held because the source looks broken
  undelete CONFIG PATH... [--list] [--source S] [--target T] [--date D] [--force]
                                         bring back what was removed, from the trash of a target
  failed list|retry|clear [--source S] [--target T] [CONFIG]
                                         paths that could not be sent: try them now, or forget them
  hooks list|test NAME|retry [NAME] [--source S] [CONFIG]
                                         who is told of what happened: how they are, try one, tell again what failed
  events [--json] [CONFIG]               show what it sends and removes, as it happens
  log-level debug|info|warn|error [CONFIG]
                                         change what a running sersync logs
  convert FILE [-o OUT]                  print the YAML for a confxml.xml or an lsyncd.conf.lua
  watch FILE... [-mrq] [-e EVENTS]       print what happens, as inotifywait does
  service install|uninstall|print [--name N] [CONFIG]
                                         start a configuration at boot, by systemd
  torture DIR [--seed N] [--duration D]  prove on this machine that nothing is lost, in an empty directory
  version                                print the version
  completion SHELL                       print completions for bash, zsh or fish
  help COMMAND                           explain one command

Flags of 2.5.4, in any order and bundle (-rdo FILE):
  -r         compare everything with every target once at the start
  -d         run as a daemon; returns when it is up, and with its error when it is not
  -o FILE    the configuration; confxml.xml in this directory without it
  -n N       at most N transport runs at one time (no bound without it); 10 for a value that is 0 or no number
  -m NAME    only a plugin of the configuration (command, socket, refreshCDN, http), without replication
  -h         this text

Signals:
  TERM, INT  finish what is in flight, for at most 10 seconds, and end; a second one, later than a second, ends at once
  HUP        open the log file again and read the configuration again; on any error the old one stays

Exit codes:
  0  all is well
  1  an error, something that must be done (doctor), a configuration that cannot be used, a flag of 2.5.4 that does not exist
  2  a command that does not exist or was called wrongly
  3  no sersync is running (status, wait, sweep, pause, resume, deletes, failed, hooks, events, log-level)
  4  the time of wait, or of sweep --wait, is over
  5  another process already does this
  255  the configuration is missing or malformed
`
