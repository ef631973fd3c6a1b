# Sets cur, prev, words and cword to the words of the command line, as package bash-completion does: it does not split
# them at = and :, where bash does.
if ! declare -F _get_comp_words_by_ref >/dev/null; then
_get_comp_words_by_ref()
{
    local word joined= rest=$COMP_LINE i
    words=() cword=0
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $rest != [[:space:]]* && ${#words[@]} -gt 0 && ($word == [=:]* || $joined == *[=:]) ]]; then
            joined+=$word
            words[${#words[@]}-1]=$joined
        else
            joined=$word
            words+=("$word")
        fi
        rest=${rest#*"$word"}
        if ((i == COMP_CWORD)); then cword=$((${#words[@]} - 1)); fi
    done
    cur=${words[cword]} prev=
    if ((cword > 0)); then prev=${words[cword-1]}; fi
}
fi
