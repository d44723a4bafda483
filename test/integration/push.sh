#!/bin/bash
# Pushing, cloning and fetching with a real git client, against the broker alone (the node and the
# router pretend): what is built, what is only stored, what is refused and how it is said.
. "$(dirname "$0")/../lib/world.sh"
. "$(dirname "$0")/../lib/engine_world.sh"
engine_up
cd "$WORLD" || exit 1

new_app() { api POST domain/it/applications "name=$1" cartridge=static-1.0 >/dev/null; }
# fresh NAME: an empty repository with one commit on the current default branch.
fresh() {
	git init -q "$1" && cd "$1" && echo "$1" >index.html && git add -A && git commit -qm one
}
# pushes [ARG…]: git push to $1 with output in push.log
pushes() { git push "$@" >"$WORLD/push.log" 2>&1; }
said() { grep -qF -- "$1" "$WORLD/push.log" || { cat "$WORLD/push.log"; return 1; }; }
refused() { ! pushes "$@"; }
app_field() { api GET "domain/it/application/$1" | jq -r ".data.$2"; }
live_deployment() { node_log -s --arg id "$(route "$1" | jq -r .endpoints[0].id)" '[.[] | select(.event=="instance" and .id==$id)][-1].deployment'; }
built_count() { node_log -s --arg a "$1" '[.[] | select(.event=="build" and .app==$a)] | length'; }

check "an app starts from its template" new_app tmpl
check "the route serves it" test "$(route tmpl | jq -r .state)" = live
check "the template can be cloned" git clone -q "$GIT_URL/tmpl.git" c1
check "it has the template's file" test -s c1/index.html
check "protocol v1 and v0 clone as well" bash -c "git -c protocol.version=1 clone -q $GIT_URL/tmpl.git c2 && git -c protocol.version=0 clone -q $GIT_URL/tmpl.git c3"
check "a shallow clone works" git clone -q --depth 1 "$GIT_URL/tmpl.git" c4
cd c1
echo hello >page.html; git add -A; git commit -qm page
check "a commit on the template is pushed" pushes
check "the pusher sees v2's closing lines" said "Deployment completed with status: success"
check "the URL comes last" test "$(grep remote: "$WORLD/push.log" | tail -1 | sed 's/remote: //; s/ *$//')" = "http://tmpl-it.apps.localhost:8080/"
check "the node built that commit" test "$(node_log -s '[.[] | select(.event=="build")][-1].sha1')" = "\"$(git rev-parse HEAD)\""
check "a clone sees it now" bash -c "git clone -q $GIT_URL/tmpl.git ../c5 && test -s ../c5/page.html"
check "nothing new to push is fine" pushes
cd ..

new_app exist
fresh exist-repo; git branch -M main
check "an existing repository is pushed to the empty one, branch main" pushes "$GIT_URL/exist.git" main
check "main became the deployment branch" test "$(app_field exist deployment_branch)" = main
n=$(built_count exist)
git checkout -qb feature; echo f >f; git add -A; git commit -qm f
check "another branch is only stored" pushes "$GIT_URL/exist.git" feature
check "it says so" said "feature is stored. Pushes to main are deployed."
git tag v1
check "a tag is only stored" pushes "$GIT_URL/exist.git" v1
git branch -f master
check "master after main is only stored" pushes "$GIT_URL/exist.git" master
check "none of them was built" test "$(built_count exist)" = "$n"
check "deletion of another branch works" pushes "$GIT_URL/exist.git" --delete master
check "deletion of the deployment branch is refused" refused "$GIT_URL/exist.git" --delete main
check "with the reason" said "! [remote rejected] main (the deployment branch cannot be deleted)"
git checkout -q main
echo x >index.html; git commit -qam x; git branch -f other
check "several refs in one push: each has its verdict" pushes "$GIT_URL/exist.git" main other
check "the first was built, the second stored" said "other is stored"
git checkout -q feature
check "a push that is no fast-forward is refused by git" refused "$GIT_URL/exist.git" feature:main
check "and taken with --force" pushes --force "$GIT_URL/exist.git" feature:main
check "a clone gets main as HEAD" bash -c "git clone -q $GIT_URL/exist.git ../c6 && test -f ../c6/f"
check "fetch of a branch" git -C ../c6 fetch -q origin other
git checkout -q main; git reset -q --hard feature
echo 'cannot compile' >BUILD_FAILS; git add -A; git commit -qm bad
old=$(route exist)
check "a failed build refuses the ref" refused "$GIT_URL/exist.git" main
check "with step and reason" said "! [remote rejected] main -> main (build failed: cannot compile)"
check "the route is as before" test "$(route exist)" = "$old"
check "the branch did not move" test "$(git ls-remote "$GIT_URL/exist.git" main | cut -f1)" = "$(git rev-parse HEAD~1)"
check "the same commit can be pushed again, and fails again" refused "$GIT_URL/exist.git" main
git rm -q BUILD_FAILS; echo 'exited with status 1 after 0.3 s' >START_FAILS; git add -A; git commit -qm bad2
check "a failed start refuses the ref" refused "$GIT_URL/exist.git" main
check "with the reason" said "exited with status 1 after 0.3 s"
check "and the last lines of its log" said "boom"
check "one bad branch refuses only that one" bash -c "! git push $GIT_URL/exist.git main feature:fine >$WORLD/push.log 2>&1"
check "the other landed" said "* [new branch]      feature -> fine"
check "the route is still as before" test "$(route exist)" = "$old"
check "no failed deployment is left" test "$(api GET domain/it/application/exist/deployments | jq '[.data[] | select(.activations == [])] | length')" = 0
git rm -q START_FAILS; echo n >NOTES; git add -A; git commit -qm notes
check "a good commit deploys again" pushes "$GIT_URL/exist.git" main
check "notes of the node reach the pusher" said "listens on port 3000"
check "submodules, markers: a clean build is ordered" bash -c "mkdir -p .openshift/markers && touch .openshift/markers/force_clean_build && git add -A && git commit -qm clean && git push $GIT_URL/exist.git main >$WORLD/push.log 2>&1 && grep -q 'Force clean build enabled' $WORLD/push.log"
cd ..

new_app sub
new_app whole
fresh part-repo
check "a repository to be a submodule" pushes "$GIT_URL/sub.git" master
cd ..
fresh whole-repo
git -c protocol.file.allow=always submodule --quiet add ../part-repo vendor/part 2>/dev/null
git config -f .gitmodules submodule.vendor/part.url ../sub.git; git add -A; git commit -qm sub
check "submodules by relative URL are in the tree" pushes "$GIT_URL/whole.git" master
check "the node got the submodule's file" test "$(node_log -s '[.[] | select(.event=="build")][-1].names | index("vendor/part/index.html") != null')" = true
git config -f .gitmodules submodule.vendor/part.url ../nothere.git; git add -A; git commit -qm sub2
check "a submodule that does not exist fails the build" refused "$GIT_URL/whole.git" master
check "and is named" said "there is no application nothere"
cd ..

# --- who may
check "a wrong password is refused" bash -c "! git ls-remote http://admin:wrong@127.0.0.1:$PORT/git/it/tmpl.git 2>$WORLD/push.log"
check "as authentication" grep -qi 'Authentication failed' "$WORLD/push.log"
check "no password asks for one" test "$(curl -s -o /dev/null -w '%{http_code}' "$URL/git/it/tmpl.git/info/refs?service=git-upload-pack")" = 401
check "an unknown app is 404" test "$(curl -s -u admin:secret-of-admin -o /dev/null -w '%{http_code}' "$URL/git/it/none.git/info/refs?service=git-upload-pack")" = 404
api POST users login=eve password=evil-password-1 >"$WORLD/user.out" || cat "$WORLD/user.out"
check "someone else's app is 404" test "$(curl -s -u eve:evil-password-1 -o /dev/null -w '%{http_code}' "$URL/git/it/tmpl.git/info/refs?service=git-receive-pack")" = 404
check "the dumb protocol is refused in words" bash -c "curl -s -u admin:secret-of-admin $URL/git/it/tmpl.git/info/refs | grep -q 'dumb HTTP protocol'"
check "other paths are 404" test "$(curl -s -u admin:secret-of-admin -o /dev/null -w '%{http_code}' "$URL/git/it/tmpl.git/objects/info/packs")" = 404
check "GET of a service is refused" test "$(curl -s -u admin:secret-of-admin -o /dev/null -w '%{http_code}' "$URL/git/it/tmpl.git/git-receive-pack")" = 405

# --- hostile and odd
check "a corrupt pack is refused" bash -c "
  printf '00a10000000000000000000000000000000000000000 1111111111111111111111111111111111111111 refs/heads/master\0 report-status side-band-64k object-format=sha1 agent=x0000PACKgarbagegarbage' |
  curl -s -u admin:secret-of-admin -H 'Content-Type: application/x-git-receive-pack-request' --data-binary @- $URL/git/it/tmpl.git/git-receive-pack -o $WORLD/corrupt.out -w '%{http_code}' | grep -q 200 && ! grep -q 'ok refs/heads/master' $WORLD/corrupt.out"
check "and moved nothing" test "$(git ls-remote "$GIT_URL/tmpl.git" master | cut -f1)" = "$(git -C c1 rev-parse HEAD)"
check "a body that claims to be gzip and is not is broken off" bash -c "! curl -s -f -u admin:secret-of-admin -H 'Content-Encoding: gzip' --data-binary nonsense $URL/git/it/tmpl.git/git-upload-pack"
cd c1
name=$(printf 'caf\xe9.txt'); echo latin >"$name"; git add -A; git commit -qm latin
check "file names in Latin-1 are pushed" pushes
for i in $(seq 1 300); do echo "$i" >"f$i"; done; git add -A; git commit -qm many
check "a push above the unpack limit is kept as a pack" pushes
check "many refs, so that the client compresses its request" bash -c 'for i in $(seq 200); do git branch b$i; done; git push -q origin --all && git clone -q . ../many && cd ../many && git fetch -q '"$GIT_URL/tmpl.git"' "refs/heads/*:refs/remotes/x/*"'
cd ..
git init -q empty-repo
check "a repository without commits pushes nothing" bash -c "cd empty-repo && ! git push $GIT_URL/tmpl.git master 2>$WORLD/push.log && grep -q 'src refspec' $WORLD/push.log"
check "a ref outside of branches and tags is refused" bash -c "cd c1 && ! git push origin HEAD:refs/notes/x >$WORLD/push.log 2>&1 && grep -q 'only branches and tags are taken' $WORLD/push.log"
deep=$(printf 'd/%.0s' $(seq 140)); mkdir -p "deep-repo/$deep"; cd deep-repo; git init -q; echo x >"${deep}f"; git add -A; git commit -qm deep
check "a tree deeper than a file system likes is refused" refused --force "$GIT_URL/tmpl.git" HEAD:master
check "and is told why" said "directories nest deeper"
cd ..
api PUT domain/it/application/sub deployment_type=binary >/dev/null
check "a binary app refuses pushes with v2's text" bash -c "cd part-repo && echo y >y && git add -A && git commit -qm y && ! git push $GIT_URL/sub.git master >$WORLD/push.log 2>&1 && grep -q \"OPENSHIFT_DEPLOYMENT_TYPE is 'binary' - git-based deployments are disabled.\" $WORLD/push.log"
api PUT domain/it/application/sub deployment_type=git auto_deploy=false >/dev/null
n=$(built_count sub)
check "without auto_deploy a push is stored" bash -c "cd part-repo && git push $GIT_URL/sub.git master >$WORLD/push.log 2>&1 && grep -q 'auto_deploy' $WORLD/push.log"
check "and not built" test "$(built_count sub)" = "$n"

# --- starting from code elsewhere
from() { api POST domain/it/applications "name=$1" cartridge=static-1.0 "initial_git_url=$2" >"$WORLD/from.out"; }
reason() { jq -r '.messages[0].text' "$WORLD/from.out" | grep -qF -- "$1" || { cat "$WORLD/from.out"; return 1; }; }
check "an app starts from a repository elsewhere" from copy "$GIT_URL/exist.git"
check "its branch is the other's" test "$(app_field copy deployment_branch)" = main
check "a clone has the other's history" bash -c "git clone -q $GIT_URL/copy.git cc && git -C cc log --oneline | grep -q clean"
check "a push on top of it works" bash -c "cd cc && echo more >more && git add -A && git commit -qm more && git push -q"
check "from a branch by name" from named "$GIT_URL/exist.git#feature"
check "from nowhere is refused" bash -c "$(declare -f api from); WORLD=$WORLD URL=$URL; ! from bad1 http://127.0.0.1:1/x.git"
check "with the reason" reason "cannot fetch"
check "from ssh is refused in words" bash -c "$(declare -f api from); WORLD=$WORLD URL=$URL; ! from bad2 ssh://git@127.0.0.1/x.git"
check "that name the fix" reason "https://"
check "from a file is refused" bash -c "$(declare -f api from); WORLD=$WORLD URL=$URL; ! from bad3 file:///etc"
check "from an empty repository is refused" bash -c "$(declare -f api from new_app); WORLD=$WORLD URL=$URL; api POST domain/it/applications name=blank cartridge=static-1.0 initial_git_url=empty >/dev/null; ! from bad4 $GIT_URL/blank.git"
check "none of those is left" bash -c "$(declare -f api); WORLD=$WORLD URL=$URL; ! api GET domain/it/applications | jq -r '.data[].name' | grep bad"
check "the broker is the one that was started" kill -0 "$BROKER_PID"
done_testing
