#!/bin/bash
# Backups on a schedule, to a directory and to an S3-compatible store that checks each signature: kept in
# their number, nothing else deleted; missed ones run once; failures are told and leave nothing half.
. "$(dirname "$0")/../lib/world.sh"
plan_skip_unless_root
S3=$(mktemp -d)
chmod 777 "$S3"
head -c 24 /dev/urandom | base64 | tr -d '/+=' >"$S3/secret"
/usr/bin/python3 "$PINION_SRCDIR/test/lib/fake_s3.py" "$S3" TESTKEY "$(cat "$S3/secret")" eu-test-1 >"$S3/port" 2>"$S3/log" &
STORE=$!
until [[ -s $S3/port ]]; do sleep 0.02; done
export PINION_BROKER_BACKUP_S3=s3://pinion/backups PINION_BROKER_BACKUP_S3_REGION=eu-test-1
export PINION_BROKER_BACKUP_S3_ENDPOINT=http://127.0.0.1:$(cat "$S3/port") PINION_BROKER_BACKUP_S3_ACCESS_KEY=TESTKEY
PINION_S3_SECRET_KEY=$(cat "$S3/secret")
export PINION_S3_SECRET_KEY
export PINION_BROKER_BACKUP_S3_PART=5
export PINION_FAULT_FILE=$S3/point
world_new
finish() { kill "$STORE"; world_end; rm -rf "$S3"; }
trap finish EXIT
world_start || exit 1
login_admin && p domain create it >/dev/null

check "an app" p app create web php
id=$(p app show web --json | jq -r .id)
data=$WORLD/data/node/gears/$id/data
set_note() { echo "$1" >"$data/note"; chown 1000:1000 "$data/note"; }
count() { p backup list "$1" --json | jq '.backups | length'; }
has_count() { [[ $(count "$1") -eq $2 ]]; }
newest() { p backup list "$1" --json | jq -r '.backups[0].name'; }
fresh() { [[ $(newest web) != "$1" ]]; }

# --- what may not be ---
check "nothing was enabled" fails_with 4 "not enabled" p backup run web
check "no restore without one" fails_with 4 "no backup" p backup restore web
for bad in /etc ../x s3://other/backups s3://pinion/backupsx s3://pinion/backups/../x 'a b'; do
	check "not to $bad" fails_with 2 "" p backup enable web --to "$bad"
done
check "no such time" fails_with 2 "every" p backup enable web --every soon
check "no such number" fails_with 2 "keep" p backup enable web --keep 0

# --- a directory ---
set_note one
check "enable" p backup enable web --every 1d --keep 2 --to mine
check "the first is made at once" until_true has_count web 1
dir=$WORLD/data/broker/backups/mine/$id
check "it lies there, whole" eval 'tar tzf "$dir/$(newest web)" | grep -q app-root/data/note'
check "readable by the broker alone" test "$(stat -c %a "$dir/$(newest web)")" = 600
touch "$dir/not-ours.tar.gz"
first=$(newest web)
set_note two
check "one now" p backup run web
check "two now" p backup run web
check "the number is kept" has_count web 2
check "the oldest is gone" test ! -e "$dir/$first"
check "what was not ours is there" test -e "$dir/not-ours.tar.gz"
check "no half file" test -z "$(ls "$dir" | grep part)"
set_note three
check "restore the newest" p backup restore web
check "its data" test "$(cat "$data/note")" = two
check "it is told" eval 'p events web | grep -q "A backup was made"'
name=$(newest web)
cp "$dir/$name" "$S3/good"
printf x | dd of="$dir/$name" bs=1 seek=200 conv=notrunc status=none
set_note four
check "a changed archive is refused" fails_with 2 "" p backup restore web "$name"
check "nothing changed" test "$(cat "$data/note")" = four
cp "$S3/good" "$dir/$name"
check "by name" p backup restore web "$name" --no-git
check "its data again" test "$(cat "$data/note")" = two
check "another place is refused while there are some" fails_with 2 "stay in one place" p backup enable web --to elsewhere

# --- the clock ---
check "every second" p backup enable web --every 1s --keep 2 --to mine
check "they come by themselves" until_true fresh "$(newest web)"
check "disable" p backup disable web
sleep_one() { local n; n=$(newest web); sleep 2.2; [[ $(newest web) == "$n" ]]; }
check "no more come" sleep_one
check "those there are stay" has_count web 2
LISTEN=${BROKER#http://}
last=$(newest web)
p backup enable web --every 1h --keep 9 --to mine >/dev/null
check "one that is due" until_true fresh "$last"
world_stop
world_start && login_admin
check "a broker that starts makes none that is not due" sleep_one

# --- S3 ---
check "another app" p app create two static
two=$(p app show two --json | jq -r .id)
touch "$S3/fail"
check "enable" p backup enable two --every 1d --keep 1 --to s3://pinion/backups/two
failed() { p backup list two --json | jq -e '.last_error | contains("503 SlowDown")'; }
check "a store that fails is told" until_true failed
rm "$S3/fail"
check "the next works" p backup run two
check "it lies in the bucket" eval 'tar tzf "$S3/objects/pinion/backups/two/$two/$(newest two)" | grep -q git/two.git/HEAD'
gone=$S3/objects/pinion/backups/two/$two/$(newest two)
check "one more" p backup run two
check "the number is kept there" eval 'has_count two 1 && [[ ! -e $gone ]]'
check "restore from there" p backup restore two
check "it serves" until_true serves two / "<"
# --- in parts, while it is made ---
check "a small one went up at once" test ! -d "$S3/uploads"
large=$WORLD/data/node/gears/$two/data/large
head -c 12000000 /dev/urandom >"$large"
chown 1000:1000 "$large"
echo 2 >"$S3/fail-part"
check "a part that fails once is sent again" eval 'p backup run two && [[ ! -e $S3/fail-part ]]'
object() { echo "$S3/objects/pinion/backups/two/$two/$(newest two)"; }
check "it lies there, whole" eval 'tar xzOf "$(object)" --wildcards "*/data/large" | cmp - "$large"'
none_open() { [[ -z $(ls "$S3/uploads") ]]; }
check "no upload is open" none_open
good=$(newest two)
touch "$S3/fail"
check "a store that fails" fails_with 1 "503" p backup run two
check "is given back what it had" until_true none_open
rm "$S3/fail"
touch "$S3/fail-complete"
check "one that fails at last" eval '! p backup run two'
check "likewise" until_true none_open
rm "$S3/fail-complete"
check "the good one is kept" eval '[[ $(newest two) == "$good" && -e $(object) ]]'
arm backup_part_stored
check "a broker that dies between parts" eval '! p backup run two'
check "leaves an upload" eval '[[ -n $(ls "$S3/uploads") ]]'
check "it is back" until_true p backup list two
check "the next one goes up" until_true p backup run two
check "and gives back what was left" until_true none_open
rm "$large"
check "restore" p backup restore two
check "the large file is there" eval '(($(stat -c %s "$large") == 12000000))'

check "no spool is left" until_true eval '[[ -z $(ls "$WORLD/data/broker/scratch" 2>/dev/null) ]]'
check "the secret is in no log" eval '! grep -rq "$PINION_S3_SECRET_KEY" "$WORLD/up.log"'
check "nor in arguments" eval '! cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n" | grep -v fake_s3 | grep -q "^$PINION_S3_SECRET_KEY\$" || [[ $(pgrep -cf "$PINION_S3_SECRET_KEY") -le 1 ]]'
check "delete" eval 'p app delete web --yes && p app delete two --yes'
check "nothing is left" nothing_left "$id|$two"
done_testing
