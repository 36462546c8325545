# shellcheck shell=bash
# otpd from bash 4.4 or newer. Copy this file and source it; it needs nothing else.
#
#     source otpd.sh
#     otpd_start --outbox outbox                       # the flags of `otpd serve`
#     otpd_issue ann@example.org purpose=deploy
#     session=${OTPD[session]}
#     read -rp 'Code: ' code
#     if otpd_verify "$session" "$code" purpose=deploy; then echo welcome; else echo "${OTPD[message]}"; fi
#     otpd_stop
#
# The status is 0 if otpd said yes and nothing else did, 1 if it said no (the word is ${OTPD[error]}),
# 2 if the question was wrong, 3 if otpd is gone or gave no answer in time; 2 and 3 are told on stderr.
# Every field of the reply is in the associative array OTPD, texts unquoted, objects as they came; the whole
# line is in OTPD_REPLY. More fields are NAME=TEXT or NAME:=JSON, as in `ttl_s:=60 vars:='{"name":"Ann"}'`.
#
# OTPD_TIMEOUT  whole seconds that an answer is waited for; 65 is more than a mail may take by otpd's own
# OTPD_RESTART  if not empty, the next command after a death starts a new otpd, which knows no old session;
#               what died with the old one is never asked for again by itself, since that could double a mail
# OTPD_BIN      the program
#
# Call all of these in the shell that started otpd, and not in $(…), a pipe or `&`: two readers of one pipe
# would take each other's answers. It works under `set -euo pipefail` and sets no trap and no option.

otpd_start() { # FLAG…: starts otpd, instead of one that runs already; it ends with this shell
    if [[ ${OTPD_CHILD-} && ${OTPD_OWNER-} == "$BASHPID" ]]; then otpd_stop 6; fi
    declare -gA OTPD=() OTPD_ASKED=() OTPD_ANSWERS=() # the last reply; id → bytes; id → line
    OTPD_FLAGS=("$@") OTPD_OWNER=$BASHPID OTPD_LAST=0 OTPD_REPLY=''
    otpd_spawn
}

otpd_issue() { otpd_ask issue "to=$1" "${@:2}"; }                   # ADDRESS [FIELD…]
otpd_verify() { otpd_ask verify "session=$1" "code=$2" "${@:3}"; }  # SESSION CODE [purpose=…]
otpd_resend() { otpd_ask resend "session=$1"; }
otpd_cancel() { otpd_ask cancel "session=$1"; }
otpd_status() { otpd_ask status ${1:+"session=$1"}; }               # [SESSION]
otpd_unlock() { otpd_ask unlock "to=$1"; }
otpd_help() { otpd_ask help ${1:+"about=$1"}; }                     # [WORD]

otpd_ask() { # COMMAND [FIELD…]: asks, and waits for the answer
    otpd_send "$@" && otpd_wait "$OTPD_LAST"
}

otpd_send() { # COMMAND [FIELD…]: only asks; wait for the answer with `otpd_wait "$OTPD_LAST"`, now or later
    local LC_ALL=C line field name
    otpd_mine || return
    if [[ $OTPD_CHILD ]] && ! kill -0 "$OTPD_CHILD" 2>/dev/null; then otpd_bury; fi
    if [[ ! $OTPD_CHILD && ${OTPD_RESTART-} ]]; then otpd_spawn; fi
    if [[ ! $OTPD_CHILD ]]; then otpd_fail 3 gone "otpd $OTPD_END"; return; fi
    line="{\"id\":$((OTPD_LAST + 1)),\"cmd\":\"$1\""
    for field in "${@:2}"; do
        name=${field%%=*} field=${field#*=}
        if [[ $name != *: ]]; then otpd_quote "$field"; fi
        line+=",\"${name%:}\":$field"
    done
    line+='}'
    if [[ ${#line} -ge 65536 || $line == *$'\n'* ]]; then otpd_fail 2 line_too_long 'not one line for otpd'; return; fi
    # What nobody has read yet stays well below what the pipe holds, so that no write waits for ever.
    while ((OTPD_UNREAD > 0 && OTPD_UNREAD + ${#line} > 16384)); do otpd_receive || return; done
    OTPD_LAST=$((OTPD_LAST + 1)) OTPD_UNREAD=$((OTPD_UNREAD + ${#line})) OTPD_ASKED[$((OTPD_LAST))]=${#line}
    # In a subshell, so that SIGPIPE ends that one and not the script.
    if ! (printf '%s\n' "$line" >&"$OTPD_TO") 2>/dev/null; then otpd_bury; otpd_fail 3 gone "otpd $OTPD_END"; fi
}

otpd_wait() { # ID: waits for the answer to what was sent; its fields are in OTPD then
    otpd_mine || return
    local late=$((SECONDS + ${OTPD_TIMEOUT:-65})) left=${OTPD_TIMEOUT:-65}
    while [[ ! ${OTPD_ANSWERS[$1]-} ]]; do
        if [[ ! ${OTPD_ASKED[$1]-} ]]; then otpd_fail 3 gone "otpd ${OTPD_END:-was not asked that}"; return; fi
        if ! otpd_receive "$left"; then
            if [[ ${OTPD_ASKED[$1]-} ]]; then OTPD_ASKED[$1]=-${OTPD_ASKED[$1]}; fi # Its answer will be dropped.
            return 3
        fi
        left=$((late > SECONDS ? late - SECONDS : 1))
    done
    OTPD_REPLY=${OTPD_ANSWERS[$1]}
    unset "OTPD_ANSWERS[$1]"
    otpd_read "$OTPD_REPLY" || { otpd_bury; otpd_fail 3 gone 'otpd broke its output and was killed'; return; }
    case ${OTPD[ok]},${OTPD[error]-} in
        true,) ;;
        *,bad_json | *,bad_field | *,line_too_long | *,unknown_command) echo "otpd: ${OTPD[message]}" >&2; return 2 ;;
        *,shutting_down | *,internal) echo "otpd: ${OTPD[message]}" >&2; return 3 ;;
        *) return 1 ;;
    esac
}

otpd_stop() { # [SECONDS]: lets otpd finish, then sends SIGTERM, then SIGKILL, so many seconds apart
    otpd_mine || return
    if [[ ! $OTPD_CHILD ]]; then return; fi
    local push line
    exec {OTPD_TO}>&-
    for push in 0 TERM KILL; do
        kill "-$push" "$OTPD_CHILD" 2>/dev/null || true
        while IFS= read -r -t "${1:-6}" line <&"$OTPD_FROM"; do :; done
    done
    otpd_bury
    OTPD_OWNER=''
}

# What follows is for the functions above.

otpd_spawn() {
    coproc OTPD_PROCESS { exec "${OTPD_BIN:-otpd}" serve "${OTPD_FLAGS[@]}"; }
    OTPD_CHILD=$! OTPD_END='' OTPD_UNREAD=0 OTPD_REST=''
    # Taken from bash, which would close them when otpd ends, with what could still be read.
    local from=${OTPD_PROCESS[0]-} to=${OTPD_PROCESS[1]-}
    { [[ $from && $to ]] && eval "exec {OTPD_FROM}<&$from- {OTPD_TO}>&$to-" 2>/dev/null; } ||
        exec {OTPD_FROM}</dev/null {OTPD_TO}>/dev/null # It has ended already; the next command tells how.
}

otpd_mine() {
    [[ ${OTPD_OWNER-} == "$BASHPID" ]] || otpd_fail 3 gone 'otpd is not running in this shell itself'
}

otpd_fail() { # STATUS WORD MESSAGE
    declare -gA OTPD=([ok]=false [error]=$2 [message]=$3)
    echo "otpd: $3" >&2
    return "$1"
}

otpd_bury() { # ends what is left of otpd; $OTPD_END tells how it ended
    local status=0
    kill -KILL "$OTPD_CHILD" 2>/dev/null || true # does nothing to what ends already
    wait "$OTPD_CHILD" 2>/dev/null || status=$?
    OTPD_END="ended with status $status"
    if ((status > 128)); then OTPD_END="was ended by signal $((status - 128))"; fi
    exec {OTPD_TO}>&- {OTPD_FROM}<&-
    OTPD_CHILD='' OTPD_ASKED=()
}

otpd_receive() { # [SECONDS]: reads one reply and keeps it for whoever waits for it
    local line status=0 size
    IFS= read -r -t "${1:-${OTPD_TIMEOUT:-65}}" line <&"$OTPD_FROM" || status=$?
    OTPD_REST+=$line
    if ((status > 128)); then otpd_fail 3 no_answer 'otpd gave no answer in time'; return; fi
    if ((status > 0)); then otpd_bury; otpd_fail 3 gone "otpd $OTPD_END"; return; fi
    line=$OTPD_REST OTPD_REST=''
    if ! [[ $line =~ ^'{"ok":'(true|false)(,'"id":'([0-9]+))?[,}] ]]; then
        otpd_bury; otpd_fail 3 gone 'otpd broke its output and was killed'; return
    fi
    size=${OTPD_ASKED[${BASH_REMATCH[3]:-0}]-0} # less than 0 if nobody waits any more, 0 if nobody asked
    unset "OTPD_ASKED[${BASH_REMATCH[3]:-0}]"
    OTPD_UNREAD=$((OTPD_UNREAD - (size < 0 ? -size : size)))
    if ((size > 0)); then OTPD_ANSWERS[${BASH_REMATCH[3]}]=$line; fi
}

otpd_quote() { # TEXT: as a JSON string, into the caller's $field
    local number character escape
    field=${1//\\/"\\\\"}
    field=${field//\"/'\"'}
    if [[ $field == *[[:cntrl:]]* ]]; then
        for number in {1..31}; do
            printf -v escape '\\u%04x' "$number"
            printf -v character '%b' "\\x${escape:4}"
            field=${field//"$character"/"$escape"}
        done
    fi
    field="\"$field\""
}

otpd_read() { # LINE: the fields of one JSON object into OTPD
    local LC_ALL=C rest=${1:1} name value depth
    local string='"([^"\\]*(\\.[^"\\]*)*)"' plain='^(true|false|null|-?[0-9][0-9.eE+-]*)'
    local nested='^([^]["{}]|"[^"\\]*(\\.[^"\\]*)*")*[][{}]' # up to the next bracket
    OTPD=()
    while [[ $rest =~ ^'"'([a-z_0-9]+)'":' ]]; do
        name=${BASH_REMATCH[1]} rest=${rest:${#BASH_REMATCH[0]}} value='' depth=0
        if [[ $rest =~ ^$string ]]; then
            rest=${rest:${#BASH_REMATCH[0]}}
            otpd_text "${BASH_REMATCH[1]}"
        elif [[ $rest =~ $plain ]]; then
            value=${BASH_REMATCH[0]} rest=${rest:${#BASH_REMATCH[0]}}
        else
            while [[ $rest =~ $nested ]]; do
                value+=${BASH_REMATCH[0]} rest=${rest:${#BASH_REMATCH[0]}}
                if [[ $value == *[\[\{] ]]; then depth=$((depth + 1)); else depth=$((depth - 1)); fi
                if ((depth <= 0)); then break; fi
            done
        fi
        OTPD[$name]=$value
        if [[ $rest == '}' ]]; then return; fi
        rest=${rest#,}
    done
    return 1
}

otpd_text() { # what a JSON string says, into the caller's $value
    local rest=$1 character
    while [[ $rest == *\\* ]]; do
        value+=${rest%%\\*} rest=${rest#*\\}
        character=${rest:0:1} rest=${rest:1}
        case $character in
            [bfnrt]) printf -v character '%b' "\\$character" ;;
            u) printf -v character '%b' "\\u${rest:0:4}"; rest=${rest:4} ;;
        esac
        value+=$character
    done
    value+=$rest
}
