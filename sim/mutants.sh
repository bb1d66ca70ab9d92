#!/usr/bin/env bash
# Breaks the code on purpose, one small change at a time, and asks the swarm to
# notice each: a checker that cannot fail checks nothing. The changes are listed
# in mutants.txt; they are made in a copy of the tree, never in the tree itself.
#
#   sim/mutants.sh --all     every mutant: before a release
#   sim/mutants.sh --part    the few that .ci/run plays
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

# Fills `names`, `parts` and `breaks`, and the changes as `files`, `olds` and
# `news`, each with the name of its mutant in `owners`.
names=() parts=() breaks=() owners=() files=() olds=() news=()
read_list() {
  local line state=outside name='' text=''
  while IFS= read -r line || [ -n "$line" ]; do
    case $state in
      old | new)
        if [ "$state" = old ] && [ "$line" = new ]; then
          olds+=("$text") text='' state=new
        elif [ "$state" = new ] && [ "$line" = end ]; then
          news+=("$text") text='' state=outside
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
        names+=("$name") parts+=("${part:-}") breaks+=('')
        ;;
      'breaks '*) breaks[-1]=${line#breaks } ;;
      'file '*) owners+=("$name") files+=("${line#file }") ;;
      old) state=old ;;
      *) die "$list: cannot read: $line" ;;
    esac
  done <"$list"
  [ "$state" = outside ] || die "$list: $name has no end"
}

# The tree as it is, committed or not. Its files are new to cargo, so nothing that
# an earlier mutant left is taken for theirs.
copy_tree() {
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -f "$file" ]; then printf '%s\0' "$file"; fi
  done | xargs -0 cp --parents -t "$tree"
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

# The last line of a text stands alone or begins the line that goes on: both the
# old and the new text of an entry are whole lines but for their last one.
mutate() {
  local name=$1 at
  for at in "${!owners[@]}"; do
    if [ "${owners[at]}" = "$name" ]; then
      change "${files[at]}" "${olds[at]%$'\n'}" "${news[at]%$'\n'}"
    fi
  done
}

restore() {
  local name=$1 at
  for at in "${!owners[@]}"; do
    if [ "${owners[at]}" = "$name" ]; then cp "${files[at]}" "$tree/${files[at]}"; fi
  done
}

# Returns whether the swarm finds it.
play() {
  local name=$1 log=$target/mutants/$1.log found began=$SECONDS
  if ! (cd "$tree" && CARGO_TARGET_DIR=$build cargo build --quiet --locked -p skein-sim) >"$log" 2>&1; then
    grep -m 3 -A 5 '^error' "$log" >&2 || true
    die "$name does not build: see $log"
  fi
  "$build/debug/skein-sim" swarm --seeds "$seeds" --only-first >"$log" 2>&1 || true
  found=$(grep -m 1 '^skein-sim run --seed' "$log" || true)
  if [ -z "$found" ]; then
    grep -q " 0 failed" "$log" || die "$name: the swarm did not come to its end: see $log"
    printf '%-40s SURVIVED %s seeds (%s s)\n' "$name" "$seeds" "$((SECONDS - began))"
    return 1
  fi
  found=${found#skein-sim run --seed }
  printf '%-40s seed %s (%s s)\n' "$name" "${found:0:150}" "$((SECONDS - began))"
}

main() {
  local wanted=() at name survivors=()
  read_list
  case ${1:-} in
    --list)
      for at in "${!names[@]}"; do printf '%-40s %s\n' "${names[at]}" "${breaks[at]}"; done
      return
      ;;
    --all) wanted=("${names[@]}") ;;
    --part)
      for at in "${!names[@]}"; do
        if [ "${parts[at]}" = part ]; then wanted+=("${names[at]}"); fi
      done
      ;;
    '' | -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && return 2 ;;
    *) wanted=("$@") ;;
  esac
  for name in "${wanted[@]}"; do
    [[ " ${names[*]} " == *" $name "* ]] || die "there is no mutant $name: see $0 --list"
  done
  copy_tree
  # All texts are looked for before anything is built.
  for name in "${names[@]}"; do mutate "$name" && restore "$name"; done
  seed_dependencies
  for name in "${wanted[@]}"; do
    mutate "$name"
    play "$name" || survivors+=("$name")
    restore "$name"
  done
  if [ "${#survivors[@]}" -gt 0 ]; then
    echo "nothing notices: ${survivors[*]}"
    return 1
  fi
  echo "each of ${#wanted[@]} mutants was noticed within $seeds seeds"
}

main "$@"
