-- What the package promises of SQLite, feature by feature.
SELECT 'version', sqlite_version();
CREATE TABLE package(name TEXT PRIMARY KEY, requires TEXT);
INSERT INTO package VALUES ('ncurses', NULL), ('readline', 'ncurses'), ('sqlite', 'readline');
WITH RECURSIVE chain(name, depth) AS (
    SELECT 'sqlite', 1
    UNION ALL
    SELECT requires, depth + 1 FROM package JOIN chain USING (name) WHERE requires IS NOT NULL)
SELECT 'chain', group_concat(name, ' > '), max(depth) FROM chain;
BEGIN;
DELETE FROM package;
ROLLBACK;
SELECT 'rollback', count(*) FROM package;
DELETE FROM package ORDER BY name LIMIT 1;
SELECT 'delete limit', group_concat(name) FROM (SELECT name FROM package ORDER BY name);
CREATE VIRTUAL TABLE page4 USING fts4(body);
CREATE VIRTUAL TABLE page5 USING fts5(body);
INSERT INTO page4 VALUES ('dependencies decide the order'), ('content decides the rest');
INSERT INTO page5 SELECT body FROM page4;
SELECT 'fts4', body FROM page4 WHERE page4 MATCH '(order OR chaos) AND decide';
SELECT 'fts5', body FROM page5 WHERE page5 MATCH 'content';
CREATE VIRTUAL TABLE box USING rtree(id, left, right);
INSERT INTO box VALUES (1, 0, 2), (2, 5, 9);
SELECT 'rtree', id FROM box WHERE left >= 4;
SELECT 'json', json_extract('{"deep": [1, {"er": 2}]}', '$.deep[1].er');
SELECT 'math', round(sqrt(2), 3), soundex('Millwright');
SELECT 'dbstat', count(*) > 0 FROM dbstat;
SELECT 'integrity', integrity_check FROM pragma_integrity_check;
