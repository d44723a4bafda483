#!/bin/bash
# Each fuzz target for PINION_FUZZ_SECONDS, as script/check sets it, and ten seconds those that read
# what the world sends to the router; without, the corpora alone are replayed, by the targets among the
# unit tests.
. "$(dirname "$0")/../lib/world.sh"
if [[ -z ${PINION_FUZZ_SECONDS:-} ]] || ! command -v clang >/dev/null; then
	echo "1..0 # SKIP needs clang and PINION_FUZZ_SECONDS; make fuzz runs them too"
	exit 0
fi
export PINION_FUZZ_SEED=1 # the same inputs each time: a check does not fail by chance
while IFS= read -r line; do
	case $line in
	PASS\ *) ((++tests)); echo "ok $tests - ${line#PASS }" ;;
	FAIL\ *) ((++tests)); echo "not ok $tests - ${line#FAIL }" ;;
	*) echo "# $line" ;;
	esac
done < <("$PINION_SRCDIR/script/fuzz" --srcdir "$PINION_SRCDIR" --builddir "$PINION_BUILDDIR/fuzz-build" \
	--seconds "$PINION_FUZZ_SECONDS" --router "$((PINION_FUZZ_SECONDS > 10 ? PINION_FUZZ_SECONDS : 10))" 2>&1)
done_testing
