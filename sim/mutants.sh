#!/usr/bin/env bash
# Breaks the code on purpose, one small change at a time, and asks the swarm to
# notice each: a checker that cannot fail checks nothing. The changes are listed
# in mutants.txt. They are made in a copy of the tree, never in the tree itself, and
# all at once: each is switched on by its number when the simulator runs, so one
# build serves the whole list.
#
#   sim/mutants.sh --all     every mutant: before a release
#   sim/mutants.sh --part    those that .ci/run plays
#   sim/mutants.sh NAME...   these
#   sim/mutants.sh --list
#
# MUTANT_SEEDS (200) is how many seeds each must be found within.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${MUTANT_SEEDS:-200}
list=sim/mutants.txt
target=${CARGO_TARGET_DIR:-$PWD/target}
tree=$target/mutants/tree
build=$target/mutants/build

die() { echo "mutants: $*" >&2; exit 1; }

# Fills `names` and what belongs to each, and the changes as `files`, `olds` and
# `news`.
names=() parts=() breaks=() claims=() hints=() scenarios=() overlays=() files=() olds=() news=()
read_list() {
  local line state=outside name='' text='' call=''
  while IFS= read -r line || [ -n "$line" ]; do
    case $state in
      old | new)
        if [ "$state" = old ] && [ "$line" = new ]; then
          olds+=("$text") text='' state=new
        elif [ "$state" = new ] && [ "$line" = end ]; then
          [[ $text == *MUTANT* ]] || die "$list: a change of $name does not ask whether it is on (MUTANT)"
          news+=("${text//MUTANT/$call}") text='' state=outside
        else
          text+=$line$'\n'
        fi
        continue
        ;;
    esac
    case $line in
      '' | '#'*) ;;
      'mutant '*)
        read -r _ name part <<<"$line"
        names+=("$name") parts+=("${part:-}") breaks+=('') claims+=('') hints+=('') scenarios+=('') overlays+=('full')
        ;;
      'breaks '*) breaks[-1]=${line#breaks } ;;
      'caught-by '*) claims[-1]=${line#caught-by } ;;
      'seed '*) hints[-1]=${line#seed } ;;
      'scenario '*) scenarios[-1]=${line#scenario } ;;
      'overlay '*) overlays[-1]=${line#overlay } ;;
      'file '*)
        files+=("${line#file }")
        call="mutant::is($((${#names[@]} - 1)))"
        case $line in 'file proto/'*) call=crate::$call ;; *) call=proto::$call ;; esac
        ;;
      old) state=old ;;
      *) die "$list: cannot read: $line" ;;
    esac
  done <"$list"
  [ "$state" = outside ] || die "$list: $name has no end"
}

# Every claim of the checkers has a mutant that its checker must catch.
check_claims() {
  local claim
  while read -r claim; do
    [[ " ${claims[*]} " == *" $claim "* ]] || die "$list: no mutant is caught by $claim: add one"
  done < <(sed -n '/^pub enum Claim/,/^}/s/^ *\([A-Z][A-Za-z]*\),$/\1/p' sim/src/check.rs)
}

# The tree as it is, committed or not.
copy_tree() {
  local tree=$1
  rm -rf "$tree"
  mkdir -p "$tree"
  # Whoever runs this need not own the tree, as in a container.
  git -c safe.directory='*' ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -f "$file" ]; then printf '%s\0' "$file"; fi
  done | xargs -0 cp --parents -t "$tree"
}

# Takes over what differs in a fresh copy: cargo builds again what is newer.
renew_tree() {
  local fresh=$1 file
  mkdir -p "$tree"
  (cd "$tree" && find . -type f -print0) | while IFS= read -r -d '' file; do
    if [ ! -e "$fresh/$file" ]; then rm "$tree/$file"; fi
  done
  (cd "$fresh" && find . -type f -print0) | while IFS= read -r -d '' file; do
    if ! cmp -s "$fresh/$file" "$tree/$file"; then
      mkdir -p "$tree/$(dirname "$file")"
      cp "$fresh/$file" "$tree/$file"
    fi
  done
}

# Dependencies that are built already are linked, not built again.
seed_dependencies() {
  if [ -d "$build/debug/deps" ] || [ ! -d "$target/debug/deps" ]; then return; fi
  mkdir -p "$build/debug"
  cp -a "$target/debug/.fingerprint" "$target/debug/build" "$build/debug/"
  cp -al "$target/debug/deps" "$build/debug/deps"
  # Of the crates that mutants change nothing is shared.
  rm -rf "$build"/debug/.fingerprint/skein-*
  rm -f "$build"/debug/deps/{,lib}{skein,proto,sim}[-_]*
}

# change FILE OLD NEW: the old text must be there, and only once.
change() {
  local path=$tree/$1 old=$2 new=$3 text before after
  [ -f "$path" ] || die "$1 is gone: mend $list"
  text=$(cat "$path" && printf x)
  text=${text%x}
  before=${text%%"$old"*}
  [ "$before" != "$text" ] || die "the text to change in $1 is gone: mend $list"$'\n'"$old"
  after=${text#*"$old"}
  [ "${after#*"$old"}" = "$after" ] || die "the text to change in $1 is there twice: mend $list"$'\n'"$old"
  printf '%s' "$before$new$after" >"$path"
}

# Makes all changes. The last line of a text stands alone or begins the line that
# goes on: both texts of an entry are whole lines but for their last one.
mutate() {
  local at
  for at in "${!files[@]}"; do
    change "${files[at]}" "${olds[at]%$'\n'}" "${news[at]%$'\n'}"
  done
  echo '#[doc(hidden)] #[allow(missing_docs)] pub mod mutant;' >>"$tree/proto/src/lib.rs"
  cat >"$tree/proto/src/mutant.rs" <<'RUST'
use std::env::var;
use std::sync::OnceLock;

/// Whether the mutant with this number is on.
pub fn is(number: usize) -> bool {
    static ON: OnceLock<Option<usize>> = OnceLock::new();
    *ON.get_or_init(|| var("SKEIN_MUTANT").ok().and_then(|on| on.parse().ok())) == Some(number)
}

/// Whether a violation counts: of the one claim if one is named, of all others if that
/// begins with `!`. A node that panics always does: it cannot go on.
pub fn counts(claim: &str) -> bool {
    static ONLY: OnceLock<String> = OnceLock::new();
    let only = ONLY.get_or_init(|| var("SKEIN_CLAIM").unwrap_or_default());
    match only.strip_prefix('!') {
        Some(other) => claim != other,
        None => only.is_empty() || claim == only || claim == "Alive",
    }
}
RUST
  change sim/src/check.rs \
    '        let Err(violation) = verdict else { return };' \
    '        let Err(violation) = verdict else { return };
        if !proto::mutant::counts(&format!("{:?}", violation.claim)) { return; }'
}

compile() {
  local log=$target/mutants/build.log
  if ! (cd "$tree" && CARGO_TARGET_DIR=$build cargo build --quiet --locked -p skein-sim) >"$log" 2>&1; then
    grep -m 5 -A 12 '^error' "$log" >&2 || true
    die "the mutants do not build: see $log"
  fi
}

# swarm NUMBER CLAIM ARGUMENT...: prints the first seed that fails.
swarm() {
  local number=$1 claim=$2 log=$target/mutants/${names[$1]}.log
  shift 2
  SKEIN_MUTANT=$number SKEIN_CLAIM=$claim timeout 600 "$build/debug/skein-sim" swarm --overlay "${overlays[number]}" "$@" --only-first >"$log" 2>&1 || true
  grep -q ' failed; ' "$log" || die "${names[number]}: the swarm did not come to its end within ten minutes: see $log"
  sed -n 's/^skein-sim run --seed //p;T;q' "$log"
}

# scenario NUMBER: prints the scenario if the named checker finds the mutant in it. An
# expectation that fails does not count.
scenario() {
  local number=$1 log=$target/mutants/${names[$1]}.log
  if ! SKEIN_MUTANT=$number SKEIN_CLAIM=${claims[number]} timeout 600 "$build/debug/skein-sim" \
    run "sim/scenarios/${scenarios[number]}.txt" >"$log" 2>&1; then
    sed -n "s/^A promise was broken: /scenario ${scenarios[number]}  # /p;T;q" "$log"
  fi
}

# Returns whether the swarm finds it: its checker, if the list names one.
play() {
  local number=$1 name=${names[$1]} claim=${claims[$1]} hint=${hints[$1]} found='' began=$SECONDS
  if [ -n "${scenarios[number]}" ]; then
    found=$(scenario "$number")
    if [ -z "$found" ]; then
      printf '%-40s SURVIVED its scenario\n' "$name"
      return 1
    fi
    printf '%-40s %-14s %s (%s s)\n' "$name" "$claim" "${found:0:150}" "$((SECONDS - began))"
    return
  fi
  if [ -n "$hint" ]; then found=$(swarm "$number" "$claim" --from "$hint" --seeds 1) || exit 1; fi
  if [ -z "$found" ]; then found=$(swarm "$number" "$claim" --seeds "$seeds") || exit 1; fi
  if [ -z "$found" ]; then
    printf '%-40s SURVIVED %s seeds (%s s)\n' "$name" "$seeds" "$((SECONDS - began))"
    return 1
  fi
  printf '%-40s %-14s seed %s (%s s)\n' "$name" "$claim" "${found:0:150}" "$((SECONDS - began))"
}

main() {
  local wanted=() at name survivors=()
  read_list
  check_claims
  case ${1:-} in
    --list)
      for at in "${!names[@]}"; do
        printf '%-40s %-14s %s\n' "${names[at]}" "${claims[at]}" "${breaks[at]}"
      done
      return
      ;;
    --all) wanted=("${!names[@]}") ;;
    --part)
      for at in "${!names[@]}"; do
        if [ "${parts[at]}" = part ]; then wanted+=("$at"); fi
      done
      ;;
    '' | -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && return 2 ;;
    *)
      for name in "$@"; do
        for at in "${!names[@]}"; do
          if [ "${names[at]}" = "$name" ]; then wanted+=("$at") && continue 2; fi
        done
        die "there is no mutant $name: see $0 --list"
      done
      ;;
  esac
  mkdir -p "$target/mutants"
  exec 9>"$target/mutants/lock"
  flock -n 9 || die "another run uses $target/mutants: wait for it, or set CARGO_TARGET_DIR"
  copy_tree "$target/mutants/fresh"
  tree=$target/mutants/fresh mutate
  renew_tree "$target/mutants/fresh"
  seed_dependencies
  compile
  for at in "${wanted[@]}"; do
    play "$at" || survivors+=("${names[at]}")
  done
  if [ "${#survivors[@]}" -gt 0 ]; then
    echo "nothing notices: ${survivors[*]}"
    return 1
  fi
  echo "each of ${#wanted[@]} mutants was noticed within $seeds seeds"
}

main "$@"
