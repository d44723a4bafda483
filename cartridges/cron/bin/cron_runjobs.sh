#!/bin/bash
# Runs the application's jobs of one frequency; called by the platform's scheduler.
# usage: cron_runjobs.sh minutely|hourly|daily|weekly|monthly
set -u
cd "$OPENSHIFT_CRON_DIR" || exit 1
frequency=${1:-}
case $frequency in
minutely | hourly | daily | weekly | monthly) ;;
*) echo "usage: cron_runjobs.sh minutely|hourly|daily|weekly|monthly" >&2; exit 64 ;;
esac
jobs=${OPENSHIFT_REPO_DIR}.openshift/cron/$frequency
limit=${MAX_RUN_TIME:-20m}
[[ -f run/jobs.enabled && -d $jobs ]] || exit 0

# To ~/app-root/logs/cron_FREQUENCY.log as in v2, and into the application's log.
to_log() {
	if [[ -n ${PINION_INSTANCE:-} ]]; then
		tee >(exec logshifter -tag "cron_$frequency" >/dev/null) | /usr/lib/pinion/log-lines "cron_$frequency"
	else
		logshifter -tag "cron_$frequency"
	fi
}

say() { printf '%s\n' "$*"; }

# As run-parts does, and as the lists say, where there are any: names, one a line.
is_job() { # FILE NAME
	[[ -f $1 ]] || return 1
	case $2 in jobs.allow | jobs.deny | README* | *~ | *,* | *.bak | *.orig | *.swp | *.rpm*) return 1 ;; esac
	[[ ! -f $jobs/jobs.deny ]] || ! grep -qxF -- "$2" "$jobs/jobs.deny" || return 1
	[[ ! -f $jobs/jobs.allow ]] || grep -qxF -- "$2" "$jobs/jobs.allow"
}

run_all() {
	local f name rc
	for f in "$jobs"/*; do
		name=${f##*/}
		is_job "$f" "$name" || continue
		[[ -x $f ]] || chmod +x "$f" || continue
		rc=0
		(cd "$HOME" && exec "$f" "$frequency") </dev/null || rc=$?
		((rc == 0)) || say "$name ended with status $rc"
	done
}

if [[ ${2:-} == --now ]]; then # the inner part, under the limit
	run_all
	exit 0
fi
exec 9>"run/$frequency.lock"
if ! flock -n 9; then
	say "the $frequency jobs of the time before still run: left out" | to_log
	exit 0
fi
{
	rc=0
	timeout -k 30 "$limit" "$PWD/bin/cron_runjobs.sh" "$frequency" --now 9>&- || rc=$?
	((rc != 124 && rc != 137)) || say "the $frequency jobs took longer than $limit and were ended"
} 2>&1 | to_log
