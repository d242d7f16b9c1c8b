# make help lists what there is.
GO          ?= go
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.0
GOFUMPT     ?= $(GO) run mvdan.cc/gofumpt@v0.12.0
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
NFPM        ?= $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
GOTESTFLAGS ?=
DURATION    ?= 30m
LDFLAGS      = -s -w -X sersync/internal/cli.Version=$(VERSION)

export CGO_ENABLED ?= 0

.PHONY: help run build test test-php race lint fmt bench torture soak man completion packages packages-test clean deps

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## replicate ./demo/source to ./demo/target and show what happens; stop with Ctrl-C
	@mkdir -p demo/source demo/target
	@test -e demo/source/hello.txt || echo "hello" > demo/source/hello.txt
	@echo
	@echo "Replicating ./demo/source to ./demo/target. In another terminal, try:"
	@echo
	@echo "    echo again >> demo/source/hello.txt && bin/sersync wait && cat demo/target/hello.txt"
	@echo "    cp -r docs demo/source/ && mv demo/source/docs demo/source/moved"
	@echo "    rm -r demo/source/moved && bin/sersync wait && ls demo/target"
	@echo "    bin/sersync status"
	@echo
	@bin/sersync sync ./demo/source ./demo/target

build: ## bin/sersync, one static binary
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/sersync ./cmd/sersync

# One package after the other: some change limits of the kernel, which all share.
test: deps ## all tests, on a real rsync daemon and the real kernel
	$(GO) test -p 1 $(GOTESTFLAGS) -timeout 20m ./...

test-php: ## docs/hooks/opcache.php in a PHP with opcache, which it installs
	@etc/install-deps php
	$(GO) test -tags php -run TestOpcache ./docs

race: deps ## all tests under the race detector
	CGO_ENABLED=1 $(GO) test -p 1 -race -timeout 30m ./...

lint: ## go vet, staticcheck, gofumpt
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@out="$$($(GOFUMPT) -l .)"; if [ -n "$$out" ]; then echo "not formatted by gofumpt:"; echo "$$out"; exit 1; fi

fmt: ## format everything
	$(GOFUMPT) -w .

bench: deps build ## the comparison with rsync, lsyncd and (SERSYNC254=its binary) sersync 2.5.4, as one table
	$(GO) run ./bench $(BENCHFLAGS)

torture: deps build ## kill, cut and freeze everything for some three minutes, and see that nothing is lost (TORTUREFLAGS for more)
	@for args in "--target rsync --seed 1 --duration 40s --kills 20" "--target native --seed 2 --duration 40s" $(if $(filter 0,$(shell id -u)),"--target native --seed 3 --duration 40s --power"); do \
		dir=$$(mktemp -d) && bin/sersync torture $$dir $$args $(TORTUREFLAGS) && rmdir $$dir || exit 1; \
	done

soak: deps build ## steady changes and faults for DURATION; fails when memory, goroutines or descriptors grow
	@dir=$$(mktemp -d) && bin/sersync torture $$dir --soak --duration $(DURATION) $(TORTUREFLAGS) && rmdir $$dir

man: ## man pages of sersync and each command, into dist/man
	$(GO) run -ldflags "-X sersync/internal/cli.Version=$(VERSION)" ./etc/man dist/man

completion: build ## completions for bash, zsh and fish, into dist/completion
	@mkdir -p dist/completion
	bin/sersync completion bash > dist/completion/sersync.bash
	bin/sersync completion zsh > dist/completion/_sersync
	bin/sersync completion fish > dist/completion/sersync.fish

packages: man completion ## deb and rpm for amd64 and arm64, in dist
	@GO='$(GO)' NFPM='$(NFPM)' LDFLAGS='$(LDFLAGS)' VERSION='$(VERSION)' etc/nfpm/build

packages-test: packages ## installs and removes them in a copy of this machine (a Debian, as root)
	@etc/nfpm/test

clean: ## remove what was built and the demo
	rm -rf bin dist demo/source demo/target

deps:
	@etc/install-deps rsync ssh sshd mkfs.ext4 mkfs.xfs
