# What is told of names that nobody knows, each with the known name that is nearest to it.
#
# kind: `variable` for notes on variables, `target` for the error about targets; unknown, known: names, separated by
# blanks. Nearest is what takes the fewest letters changed, added or removed.

function distance(from, to,    rows, columns, i, j, cost, best) {
    rows = length(from); columns = length(to)
    for (j = 0; j <= columns; j++) table[0, j] = j
    for (i = 1; i <= rows; i++) {
        table[i, 0] = i
        for (j = 1; j <= columns; j++) {
            cost = substr(from, i, 1) != substr(to, j, 1)
            best = table[i - 1, j - 1] + cost
            if (table[i - 1, j] + 1 < best) best = table[i - 1, j] + 1
            if (table[i, j - 1] + 1 < best) best = table[i, j - 1] + 1
            table[i, j] = best
        }
    }
    return table[rows, columns]
}

BEGIN {
    number = split(unknown, names, " ")
    candidates = split(known, candidate, " ")
    for (n = 1; n <= number; n++) {
        # More than a third of the letters wrong is another word.
        least = int(length(names[n]) / 3) + 1; nearest = ""
        for (c = 1; c <= candidates; c++) {
            away = distance(toupper(names[n]), toupper(candidate[c]))
            if (away < least) { least = away; nearest = candidate[c] }
        }
        if (kind == "target") {
            text = text (n > 1 ? "; " : "") "there is no target `" names[n] "`"
            if (nearest != "") text = text " (did you mean `" nearest "`?)"
            continue
        }
        advice = nearest == "" ? "`make help` lists what there is" : "did you mean " nearest "?"
        print "note: " names[n] " has no effect: there is no such variable; " advice
    }
    if (kind == "target") print text "; `make -C toolkit help` lists what there is"
}
