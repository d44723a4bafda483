#!/bin/bash
# The tree keeps its own rules: layers, sizes, names.
n=0
for check in check-layers check-size "check-names $PINION_BUILDDIR" "check-dist $PINION_BUILDDIR" \
	"manuals --check $PINION_BUILDDIR" "check-docs $PINION_BUILDDIR"; do
	((n++))
	if out=$("$PINION_SRCDIR"/script/$check 2>&1); then
		echo "ok $n - ${check%% *}"
	else
		echo "not ok $n - ${check%% *}"
		sed 's/^/# /' <<<"$out"
	fi
done
echo "1..$n"
