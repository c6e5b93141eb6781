# What Fieldwave does on an edge box: POSIX sh, sent along with every call; nothing is installed there.
#
#   sh -c "$(cat box.sh)" box.sh FOLDER VERB [ARGUMENT...]
#
# FOLDER holds:
#   blobs/sha256/HEX        parts of images, whole and checked; HEX.part is one on its way
#   images/HEX/             an OCI layout of one image (HEX: its manifest), its blobs a link to the above
#   services/NAME/          service.json (what was asked for), pod.json (what podman plays), keys/, tls/,
#                           also/ (other packages), before/ (both files of the version before the last change)
#   lock                    held while pods are changed
# Exit codes: 10 taken, 11 unknown, 12 something is missing, 13 no space, 14 somebody else is at work, 15 podman
# failed. What went wrong is the last line of standard error.
set -u
umask 022
folder=$1 verb=$2
shift 2
if [ -z "$folder" ]; then
  if [ "$(id -u)" = 0 ]; then folder=/var/lib/fieldwave
  else folder=${XDG_DATA_HOME:-$HOME/.local/share}/fieldwave; fi
fi
program=$(command -v podman) # before it is a function
blobs=$folder/blobs/sha256 services=$folder/services images=$folder/images

fail() {
  code=$1
  shift
  printf '%s\n' "$*" >&2
  exit "$code"
}

# The lock's descriptor must not reach what podman leaves running.
podman() { command podman "$@" 9>&-; }

# lock FILE SECONDS: wait for it so long, and hold it until this call ends.
lock() {
  exec 9>"$1" || fail 13 "cannot write to $1"
  flock -w "$2" 9 || fail 14 "another deployment is at work there"
}

prepare() {
  said=$(mkdir -p "$blobs" "$images" "$services" 2>&1) || fail 13 "$said"
  chmod 700 "$services"
}

# Where systemd looks after services: for the whole box, or for this user; empty where there is none.
manager() {
  if [ -d /run/systemd/system ]; then
    if [ "$(id -u)" = 0 ]; then echo system
    elif systemctl --user show-environment >/dev/null 2>&1; then echo user; fi
  fi
}

facts() {
  echo "user=$(id -un)"
  echo "root=$([ "$(id -u)" = 0 ] && echo yes || echo no)"
  echo "machine=$(uname -m)"
  echo "folder=$folder"
  echo "podman=$(podman version --format '{{.Client.Version}}' 2>/dev/null)"
  echo "flock=$(command -v flock)"
  echo "manager=$(manager)"
  echo "store=$(podman info --format '{{.Store.GraphRoot}}' 2>/dev/null)"
  echo "services=$(cd "$services" 2>/dev/null && echo * | sed 's/^[*]$//')"
}

# room PATH...: for each how many KiB are free there, or where it will be.
room() {
  for there; do
    while [ ! -d "$there" ]; do there=$(dirname "$there"); done
    df -Pk "$there" | awk 'NR == 2 { print $4 }'
  done
}

# have HEX...: for each what is there of it: 'whole', or how many bytes.
have() {
  for hex; do
    if [ -f "$blobs/$hex" ]; then echo whole
    else wc -c 2>/dev/null <"$blobs/$hex.part" || echo 0; fi
  done
}

# put HEX BLOCK: standard input is the blob from this block of 65536 bytes on. Whoever sends a blob sends the same
# bytes to the same places, so that two at the same time, and one that was cut off, do no harm.
put() {
  prepare
  said=$(dd of="$blobs/$1.part" bs=65536 seek="$2" conv=notrunc 2>&1) && return
  rm -f "$blobs/$1.part" # a full disk is no place for it
  fail 13 "$(echo "$said" | grep -m 1 ': ')"
}

# settle HEX...: check what has arrived; what is not what its name says is removed and named.
settle() {
  for hex; do
    for file in "$blobs/$hex" "$blobs/$hex.part"; do
      [ -f "$file" ] || continue
      if [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" = "$hex" ]; then
        [ "$file" = "$blobs/$hex" ] || mv "$file" "$blobs/$hex"
        rm -f "$blobs/$hex.part"
        continue 2
      fi
      rm -f "$file"
    done
    echo "$hex"
  done
}

# share NAME HEX: a blob is a package of this service, beside its image's, and is kept with it.
share() {
  lock "$folder/lock" 60
  [ -d "$services/$1" ] || fail 11 "there is no $1"
  mkdir -p "$services/$1/also" && ln -f "$blobs/$2" "$services/$1/also/$2.zip" && chmod 444 "$blobs/$2" ||
    fail 13 "cannot write $services/$1/also"
}

# unshare NAME [HEX...]: of its packages, the service uses no more than these.
unshare() {
  lock "$folder/lock" 60
  kept=$*
  for file in "$services/$1/also"/*.zip; do
    [ -f "$file" ] || continue
    hex=${file##*/}
    case " $kept " in *" ${hex%.zip} "*) ;; *) rm -f "$file" ;; esac
  done
}

# present REFERENCE: whether podman has it.
present() { podman image exists "$1"; }

# load HEX REFERENCE TOKEN: standard input lists the blobs of the image, one a line, its manifest first.
load() {
  prepare
  layout=$images/$1
  mkdir -p "$layout" && touch "$layout/wanted.$3" && cat >"$layout/blobs.$3" || fail 13 "cannot write $layout"
  mv "$layout/blobs.$3" "$layout/blobs.txt"
  lock "$layout/lock" 600 # who comes second finds it done
  if ! podman image exists "$2"; then
    ln -sfn ../../blobs "$layout/blobs"
    printf '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
    printf '{"schemaVersion": 2, "manifests": [{"mediaType": "%s", "digest": "sha256:%s", "size": %s}]}' \
      application/vnd.oci.image.manifest.v1+json "$1" "$(wc -c <"$blobs/$1")" >"$layout/index.$3" &&
      mv "$layout/index.$3" "$layout/index.json" || fail 13 "cannot write $layout"
    # Podman names what it pulls from a folder after the folder.
    id=$(cd "$images" && podman pull -q "oci:$1" 2>"$layout/said.$3")
    code=$?
    said=$(tail -n 1 "$layout/said.$3")
    rm -f "$layout/said.$3"
    if [ $code != 0 ]; then
      rm -rf "$layout"
      case $said in *"no space left"*) fail 13 "$said" ;; esac
      fail 15 "$said"
    fi
    podman tag "$id" "$2" && podman rmi "localhost/$1" >/dev/null 2>&1 || fail 15 "podman cannot name the image $2"
  fi
}

# claim NAME PORT TOKEN WHO: the name and two ports, for who asked first; prints the ports.
claim() {
  prepare
  lock "$folder/lock" 60
  service=$services/$1
  if [ -f "$service/service.json" ]; then fail 10 "$1 is there already"; fi
  # A claim is followed by its start within moments; an old one is of somebody who is gone.
  if [ -f "$service/claim" ] && [ -z "$(find "$service/claim" -mmin +2)" ] &&
    [ "$(cat "$service/claim")" != "$3" ]; then
    fail 10 "$1 is being deployed by $(cat "$service/who")"
  fi
  rm -rf "$service"
  mkdir "$service" || fail 13 "cannot make $service"
  if [ "$2" != 0 ]; then
    taken "$2" && { rmdir "$service"; fail 10 "port $2 is taken there"; }
    port=$2
  else
    port=$(free 50051)
  fi
  probe=$(free $((port + 1)))
  printf '%s\n' "$port" "$probe" >"$service/ports" && printf '%s\n' "$4" >"$service/who" &&
    printf '%s\n' "$3" >"$service/claim" || { rm -rf "$service"; fail 13 "cannot write $service"; }
  cat "$service/ports"
}

# http NAME PORT: a port for HTTP as well, for who has claimed the name; prints it. 0 is the one that it has, or a
# free one; none gives it back.
http() {
  lock "$folder/lock" 60
  ports=$services/$1/ports
  [ -f "$ports" ] || fail 11 "there is no $1"
  port=$2
  kept=$(sed -n 3p "$ports")
  if [ "$port" = none ]; then port=
  elif [ "$port" = 0 ]; then port=${kept:-$(free 8080)}
  elif [ "$port" != "$kept" ] && taken "$port"; then fail 10 "port $port is taken there"; fi
  { sed -n 1,2p "$ports"; [ -z "$port" ] || printf '%s\n' "$port"; } >"$ports.$$" && mv "$ports.$$" "$ports" ||
    fail 13 "cannot write $ports"
  echo "$port"
}

# Whether a service has the port, or somebody listens on it or calls from it: the numbers are in the range from
# which connections get theirs, and such a port cannot be listened on (06: one that has been closed).
taken() {
  cat "$services"/*/ports 2>/dev/null | grep -qx "$1" && return 0
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 != "06" { print $2 }' |
    grep -qi ":$(printf '%04X' "$1")\$"
}

free() {
  number=$1
  while taken "$number"; do number=$((number + 1)); done
  echo "$number"
}

# start NAME TOKEN BYTES fresh|update|undo: standard input is an archive of so many bytes with the service's files;
# they are put in place, and podman plays them. A start that fails leaves what was before. It goes on when the
# connection breaks.
start() {
  service=$services/$1
  new=$services/.$1.$2
  if ! said=$( (mkdir -p "$new" && cat >"$new/files.tar") 2>&1); then
    rm -rf "$new"
    fail 13 "$said"
  fi
  [ "$(wc -c <"$new/files.tar")" -eq "$3" ] || { rm -rf "$new"; fail 16 "the files did not arrive whole"; }
  ("start_$4" "$@") >"$new/out" 2>&1 </dev/null
  code=$?
  tail -n 1 "$new/out" >&2
  rm -rf "$new"
  exit $code
}

start_fresh() {
  lock "$folder/lock" 60
  [ "$(cat "$service/claim" 2>/dev/null)" = "$2" ] ||
    fail 10 "$1 was taken over by $(cat "$service/who" 2>/dev/null)"
  if ! tar -xf "$new/files.tar" -C "$service"; then
    rm -rf "$service"
    fail 13 "cannot write $service"
  fi
  if ! play "$1"; then
    reason=$said
    remove "$1"
    fail 15 "$reason"
  fi
  boot "$1"
  rm -f "$service/claim"
}

start_update() {
  lock "$folder/lock" 60
  [ -f "$service/service.json" ] || fail 11 "there is no $1"
  mkdir "$new/files" && tar -xf "$new/files.tar" -C "$new/files" && mkdir -p "$service/before" &&
    cp "$service/service.json" "$service/pod.json" "$service/before" || fail 13 "cannot write $service"
  mv "$new/files/pod.json" "$new/files/service.json" "$service" || fail 13 "cannot write $service"
  play "$1" && return
  reason=$said
  cp "$service/before/service.json" "$service/before/pod.json" "$service"
  play "$1" || fail 15 "$reason; and the one before does not start again: $said"
  fail 15 "$reason"
}

# Back to the version before the last change, if that was the change named by the token.
start_undo() {
  lock "$folder/lock" 60
  grep -q "\"token\": \"$2\"" "$service/service.json" 2>/dev/null || fail 14 "$1 was changed by somebody else"
  [ -f "$service/before/pod.json" ] || fail 11 "there is nothing before it"
  mv "$service/before/pod.json" "$service/before/service.json" "$service"
  play "$1" || fail 15 "$said"
}

# Have podman run the pod of a service in place of the one it runs; what it says if it fails is in $said. When the
# one before has ended, a connection may take its port for its own: most last for moments only.
play() {
  for pause in 1 3 6 0; do
    if podman play kube --replace "$services/$1/pod.json" >"$new/played" 2>&1; then return 0; fi
    grep -q 'address already in use' "$new/played" || break
    sleep $pause
  done
  # Where a container does not start, the reason stands before the last line; those that need it say only that.
  said=$(grep 'starting container' "$new/played" | grep -v 'a dependency of') ||
    said=$(grep 'starting container' "$new/played" || grep -v '^$' "$new/played")
  said=$(echo "$said" | tail -n 1)
  said=${said#Error: }
  return 1
}

# See to it that the pod is started with the box; says so if that fails.
boot() {
  case $(manager) in
    system) units=/etc/systemd/system manage=systemctl ;;
    user)
      units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user manage="systemctl --user"
      loginctl enable-linger >/dev/null 2>&1 ||
        echo "$1 starts with the box only once root there has said 'loginctl enable-linger $(id -un)'" ;;
    *) return 0 ;;
  esac
  mkdir -p "$units"
  unit "$1" >"$units/fieldwave-$1.service" && $manage daemon-reload &&
    $manage enable --now "fieldwave-$1.service" 2>/dev/null ||
    echo "$1 will not start with the box: see '$manage status fieldwave-$1.service' there"
}

unit() {
  cat <<END
[Unit]
Description=Fieldwave service $1
Wants=network-online.target
After=network-online.target
RequiresMountsFor=$folder

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$program pod start fieldwave-$1
ExecStop=$program pod stop -t 15 fieldwave-$1
TimeoutStopSec=60

[Install]
WantedBy=$([ "$(id -u)" = 0 ] && echo multi-user.target || echo default.target)
END
}

unboot() {
  case $(manager) in
    system) units=/etc/systemd/system manage=systemctl ;;
    user) units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user manage="systemctl --user" ;;
    *) return 0 ;;
  esac
  [ -f "$units/fieldwave-$1.service" ] || return 0
  $manage disable --now "fieldwave-$1.service" >/dev/null 2>&1
  rm -f "$units/fieldwave-$1.service"
  $manage daemon-reload
}

# release TOKEN: what was brought for this deployment need not be kept any more for its sake.
release() { rm -f "$images"/*/wanted."$1"; }

# settled: return when nobody changes a pod.
settled() {
  prepare
  lock "$folder/lock" 300
}

# health NAME: ask the server from inside its container; for boxes whose sshd forwards no ports.
health() {
  podman exec "fieldwave-$1-server" python3 -c '
import grpc
with grpc.insecure_channel("127.0.0.1:50052", options=[("grpc.enable_http_proxy", 0)]) as channel:
    print(channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=2).hex())' 2>/dev/null || echo
}

# list [NAME...]: the time, the records of the services, one a line, then what podman says of their containers.
list() {
  # shellcheck disable=SC2046 # names of services have no spaces
  [ $# -gt 0 ] || set -- $(ls "$services" 2>/dev/null)
  date +%s
  [ -n "$program" ] || fail 12 "podman is not installed there; install it with the box's package manager"
  for name; do
    [ -f "$services/$name/service.json" ] && cat "$services/$name/service.json"
  done
  echo
  found=$(podman ps -aq --no-trunc --filter name='^fieldwave-.*-server$') || exit 15
  # shellcheck disable=SC2086 # one word for each container
  if [ -n "$found" ]; then podman inspect --type container $found; else echo '[]'; fi
}

# logs NAME LINES follow|once: until standard input ends, too, if it follows.
logs() {
  [ -f "$services/$1/service.json" ] || fail 11 "there is no $1"
  if [ "$3" = once ]; then
    podman logs --tail "$2" "fieldwave-$1-server" 2>&1
    return 0
  fi
  podman logs --tail "$2" -f "fieldwave-$1-server" 2>&1 &
  reader=$!
  (cat >/dev/null; kill $reader) <&3 2>/dev/null &
  wait $reader
  kill $! 2>/dev/null
  return 0
} 3<&0

# secrets NAME: both keys.
secrets() {
  [ -f "$services/$1/service.json" ] || fail 11 "there is no $1"
  cat "$services/$1/keys/primary" "$services/$1/keys/secondary" 2>/dev/null || fail 12 "$1 has no keys"
}

# replace_key NAME WHICH: the new one is standard input.
replace_key() {
  [ -d "$services/$1/keys" ] || fail 12 "$1 has no keys"
  cat >"$services/$1/keys/.$2.$$" && [ -s "$services/$1/keys/.$2.$$" ] &&
    chmod 444 "$services/$1/keys/.$2.$$" && mv "$services/$1/keys/.$2.$$" "$services/$1/keys/$2" && return
  rm -f "$services/$1/keys/.$2.$$"
  fail 13 "cannot write the key"
}

# stop NAME SECONDS: stop the service and remove all of it.
stop() {
  lock "$folder/lock" 60
  [ -d "$services/$1" ] || fail 11 "there is no $1"
  podman pod stop -t "$2" "fieldwave-$1" >/dev/null 2>&1
  remove "$1" || fail 15 "podman cannot remove the pod fieldwave-$1: $said"
  sweep
}

# Remove a service that is not to be, with its pod, its volumes and its unit.
remove() {
  unboot "$1"
  if podman pod exists "fieldwave-$1"; then said=$(podman pod rm -f "fieldwave-$1" 2>&1) || return 1; fi
  podman volume rm -f "$1-tmp" >/dev/null 2>&1
  mv "$services/$1" "$services/.gone.$$" && rm -rf "$services/.gone.$$"
}

# Remove images that no service uses, and the blobs of none of them; what is younger than an hour and waits for its
# service is left alone.
sweep() {
  for layout in "$images"/*; do
    [ -d "$layout" ] || continue
    used="\"layout\": \"${layout##*/}\""
    grep -qs "$used" "$services"/*/service.json "$services"/*/before/service.json && continue
    [ -n "$(find "$layout" -name 'wanted.*' -mmin -60)" ] && continue
    short=$(echo "${layout##*/}" | cut -c 1-12)
    podman images --format '{{.Repository}}:{{.Tag}}' --filter "reference=localhost/fieldwave/*" |
      grep -- "-$short\$" | while read -r reference; do podman rmi "$reference" >/dev/null 2>&1; done
    mv "$layout" "$images/.gone.$$" && rm -rf "$images/.gone.$$"
    gone=yes
  done
  for blob in "$blobs"/*; do
    [ -f "$blob" ] || continue
    hex=${blob##*/}
    grep -qsx "${hex%%.*}" "$images"/*/blobs.txt && continue
    [ -n "${gone:-}" ] && [ "$hex" = "${hex%%.*}" ] && rm -f "$blob" && continue
    [ -n "$(find "$blob" -mmin +1440)" ] && rm -f "$blob"
  done
  return 0
}

"$verb" "$@"
