"""Answers questions about rpm's own judgement: one JSON document a line, one answer a line.

{"overlaps": [[provide, require], ...]}: whether they match; a dependency is [name] or [name, operator, version].
{"parses": [text, ...]}: for each text as `Requires:` of a spec, what rpm says against it, or null.
{"holds": {"packages": {name: file, ...}, "sets": [[name, ...], ...], "asking": [file, ...]}}: for each asking
package and each set of packages whether its requirements hold when they are all installed together.
"""

import json
import os
import sys
import tempfile

import rpm

directory = tempfile.mkdtemp(dir=sys.argv[1])
rpm.addMacro("_dbpath", os.path.join(directory, "db"))
log = open(os.path.join(directory, "log"), "w+")
rpm.setLogFile(log)
SPEC = """Name: t
Version: 1
Release: 1
Summary: t
License: t
Requires: %s
%%description
"""


def overlaps(pairs):
    return [rpm.ds(tuple(a), "provides").Compare(rpm.ds(tuple(b), "requires")) for a, b in pairs]


def parses(texts):
    path = os.path.join(directory, "t.spec")
    answers = []
    for text in texts:
        with open(path, "w") as spec:
            spec.write(SPEC % text.replace("%", "%%"))
        log.seek(0)
        log.truncate()
        try:
            rpm.spec(path)
            answers.append(None)
        except ValueError:
            log.flush()
            log.seek(0)
            answers.append(log.read() or "refused")
    return answers


def holds(packages, sets, asking):
    reader = rpm.TransactionSet(directory)
    reader.setVSFlags(-1)

    def header(path):
        with open(path) as file:
            return reader.hdrFromFdno(file.fileno())

    known = {name: header(path) for name, path in packages.items()}
    answers = []
    for path in asking:
        question = header(path)
        row = []
        for chosen in sets:
            transaction = rpm.TransactionSet(directory)
            for name in chosen:
                transaction.addInstall(known[name], name, "i")
            transaction.addInstall(question, "question", "i")
            row.append(not transaction.check())
        answers.append(row)
    return answers


for line in sys.stdin:
    question = json.loads(line)
    if "overlaps" in question:
        answer = overlaps(question["overlaps"])
    elif "parses" in question:
        answer = parses(question["parses"])
    else:
        answer = holds(**question["holds"])
    print(json.dumps(answer), flush=True)
