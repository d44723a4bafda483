#!/bin/bash
# What make install puts below DESTDIR: complete, with its modes, runnable wherever it is moved to,
# and taken away by make uninstall. As root an application is made with it.
. "$(dirname "$0")/../lib/world.sh"
world_new
make=(make -s --no-print-directory -C "$PINION_BUILDDIR" DESTDIR="$WORLD/dest" prefix=/usr
	bindir=/usr/bin sbindir=/usr/sbin)

# Cartridges and stacks as in the source: content and who may run it.
same_data() {
	local f installed bad=0
	while IFS= read -r f; do
		installed=$1/share/pinion/$f
		cmp -s "$PINION_SRCDIR/$f" "$installed" || { echo "differs: $f"; bad=1; }
		[[ -x $PINION_SRCDIR/$f && -x $installed || ! -x $PINION_SRCDIR/$f && ! -x $installed ]] ||
			{ echo "mode differs: $f"; bad=1; }
	done < <(cd "$PINION_SRCDIR" && find cartridges stacks -type f -not -name '*.pyc')
	return $bad
}

has_programs() {
	local p bad=0
	for p in bin/pinion sbin/pinion-{broker,node,router} \
		libexec/pinion/pinion-{hook,init,resolver,spawn,unpack,git-credential}; do
		[[ -x $1/$p ]] || { echo "not there: $p"; bad=1; }
	done
	for p in man1/pinion.1 man8/pinion-{broker,node,router}.8; do
		[[ -s $1/share/man/$p ]] || { echo "not there: $p"; bad=1; }
	done
	return $bad
}

versions() {
	local p
	for p in bin/pinion sbin/pinion-{broker,node,router}; do
		"$1/$p" --version || return 1
	done
}

# Nothing speaks of where it was built or staged.
no_strange_paths() {
	! grep -rlE "$WORLD/dest" "$1/share"
}

installed() {
	"${make[@]}" install
}

uninstalled() {
	"${make[@]}" uninstall && [[ -z $(find "$WORLD/dest" -type f) ]]
}

runs_from_there() {
	local exe
	exe=$(readlink "/proc/$(child_pid pinion-node)/exe")
	[[ $exe == "$WORLD/moved/"* ]] || { echo "the node runs from $exe"; return 1; }
}

check "make install" installed
check "programs and manuals are there" has_programs "$WORLD/dest/usr"
check "cartridges and stacks are there, modes kept" same_data "$WORLD/dest/usr"
check "no path of the build is in the data" no_strange_paths "$WORLD/dest/usr"
cp -a "$WORLD/dest/usr" "$WORLD/moved"
check "the tree runs where it was moved to" versions "$WORLD/moved"
check "make uninstall takes all of it" uninstalled
if ((EUID != 0)); then
	((++tests))
	echo "ok $tests - an application of the installed tree # SKIP needs root"
	done_testing
	exit
fi
PINION_BUILDDIR=$WORLD/moved/bin
world_start
check "pinion up of the installed tree" login_admin
check "its own programs run" runs_from_there
check "domain" p domain create it
check "create an application" p app create hello static
check "it serves" serves hello / "<html"
check "clone" clone hello
check "push" push_app hello "nothing new"
check "delete it" p app delete hello --yes
done_testing
