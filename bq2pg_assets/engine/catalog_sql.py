"""The queries that read from PostgreSQL's catalogue what a table is and what hangs on it.

Belongs here: their texts, as data. Does not: running them (catalog.py), what follows (carry.py).

ITEMS, VIEW and MATERIALIZED_VIEW give rows of relation, kind, name, make, unmake: `make` is the
statement that makes the thing, in PostgreSQL's own words, `unmake` what lets go of the table
beforehand. They are read with an empty search_path, so every name is qualified. Parameters: `oid`;
for ITEMS also `table`, `schema`, `stem`: NULL to name everything as it is, else the staging table,
its schema and how names begin that must be unique in a schema. Source: PostgreSQL, System Catalogs
and System Catalog Information Functions.
"""

ITEMS = r"""
WITH r AS (
  SELECT c.*, n.nspname, format('%%I.%%I', n.nspname, c.relname) AS own,
    coalesce(%(table)s::text, format('%%I.%%I', n.nspname, c.relname)) AS it
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s
), col AS (
  SELECT a.*, row_number() OVER (ORDER BY attnum) AS place
  FROM pg_attribute a WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
), idx AS (
  SELECT i.indexrelid, i.indisclustered, i.indisreplident, c.relname, c.reloptions,
    c.reltablespace, con.contype, con.conname, con.oid AS conoid,
    coalesce(%(stem)s || i.indexrelid, c.relname) AS named,
    format('%%I.%%I', coalesce(%(schema)s, r.nspname), coalesce(%(stem)s || i.indexrelid, c.relname)
      ) AS ix,
    format('CREATE %%sINDEX %%I ON %%s', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END,
      c.relname, r.own) AS head,
    pg_get_indexdef(i.indexrelid) AS def
  FROM r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = i.indexrelid
  LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
    AND con.conrelid = r.oid
), seq AS (
  SELECT col.attname, col.attidentity, d.deptype, c.oid AS seqid, c.relname, c.relowner, c.relacl,
    s.*, format('%%I.%%I', r.nspname, c.relname) AS sequence,
    format('%%I.%%I', coalesce(%(schema)s, r.nspname), coalesce(%(stem)s || c.oid, c.relname)
      ) AS named
  FROM r JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid
    AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_sequence s ON s.seqrelid = c.oid JOIN col ON col.attnum = d.refobjsubid
), trg AS (
  SELECT t.oid, t.tgname, t.tgtype, t.tgenabled, r.it, pg_get_triggerdef(t.oid) AS def,
    format(' ON %%s ', r.own) AS place
  FROM r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
), acl AS (
  SELECT r.own AS thing, 'TABLE' AS what, g.* FROM r,
    aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) g
  UNION ALL
  SELECT seq.sequence, 'SEQUENCE', g.* FROM seq,
    aclexplode(coalesce(seq.relacl, acldefault('s', seq.relowner))) g WHERE seq.deptype = 'i'
), item(kind, name, make, unmake) AS (
  SELECT 'table', '', concat_ws(' ', relkind, relpersistence,
    (SELECT amname FROM pg_am WHERE oid = relam),
    (SELECT spcname FROM pg_tablespace WHERE oid = reltablespace)), NULL FROM r
UNION ALL
  SELECT 'column', col.attname, concat_ws(' ', place, format_type(atttypid, atttypmod),
    (SELECT collname FROM pg_collation WHERE oid = attcollation),
    CASE WHEN attnotnull THEN 'NOT NULL' END, attidentity, attgenerated, attstorage,
    attcompression, pg_get_expr(adbin, adrelid)), NULL
  FROM col LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
  SELECT 'column option', attname, concat_ws('; ',
    CASE WHEN attstattarget >= 0 THEN
      format('ALTER TABLE %%s ALTER COLUMN %%I SET STATISTICS %%s', it, attname, attstattarget) END,
    CASE WHEN attoptions IS NOT NULL THEN format('ALTER TABLE %%s ALTER COLUMN %%I SET (%%s)', it,
      attname, array_to_string(attoptions, ', ')) END,
    CASE WHEN attstorage <> typstorage THEN
      format('ALTER TABLE %%s ALTER COLUMN %%I SET STORAGE %%s', it, attname,
        CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
      WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END) END,
    CASE WHEN attcompression <> '' THEN
      format('ALTER TABLE %%s ALTER COLUMN %%I SET COMPRESSION %%s', it, attname,
        CASE attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END) END), NULL
  FROM r, col JOIN pg_type t ON t.oid = atttypid
  WHERE attstattarget >= 0 OR attoptions IS NOT NULL OR attstorage <> typstorage
    OR attcompression <> ''
UNION ALL
  SELECT 'option', '', format('ALTER TABLE %%s SET (%%s)', it, string_agg(format('%%s%%I=%%L',
    prefix,
    split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', ' ORDER BY prefix, place)), NULL
  FROM r, LATERAL (SELECT '' AS prefix, * FROM unnest(r.reloptions) WITH ORDINALITY
    UNION ALL SELECT 'toast.', o.* FROM pg_class t, unnest(t.reloptions) WITH ORDINALITY o
      WHERE t.oid = r.reltoastrelid) opts(prefix, o, place) GROUP BY it
UNION ALL
  SELECT 'identity', sequence, format('ALTER TABLE %%s ALTER COLUMN %%I ADD GENERATED %%s AS '
    'IDENTITY (SEQUENCE NAME %%s START WITH %%s INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s CACHE '
    '%%s %%s)', it, attname, CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, named,
    seqstart, seqincrement, seqmin, seqmax, seqcache,
    CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
    || CASE WHEN %(stem)s IS NULL THEN '' ELSE
      format('; SELECT setval(%%L, last_value, is_called) FROM %%s', named, sequence) END,
    format('SELECT setval(%%L, old.last_value, old.is_called) FROM %%s old, %%s new WHERE '
      '(old.last_value::numeric * %%s, old.is_called) > (new.last_value::numeric * %%s, '
      'new.is_called)', named, sequence, named, sign(seqincrement), sign(seqincrement))
  FROM r, seq WHERE deptype = 'i'
UNION ALL
  SELECT 'owned sequence', sequence, format('ALTER SEQUENCE %%s OWNED BY %%s.%%I', sequence, own,
    attname), format('ALTER SEQUENCE %%s OWNED BY NONE', sequence) FROM r, seq WHERE deptype = 'a'
UNION ALL
  SELECT CASE contype WHEN 'c' THEN 'check' WHEN 'n' THEN 'not null' ELSE 'foreign key' END,
    conname, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', it, conname,
      pg_get_constraintdef(c.oid)), NULL
  FROM r JOIN pg_constraint c ON c.conrelid = r.oid
  WHERE contype IN ('c', 'n') OR contype = 'f' AND confrelid <> r.oid
UNION ALL
  SELECT 'self reference', conname, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', own, conname,
      pg_get_constraintdef(c.oid)), NULL
  FROM r JOIN pg_constraint c ON c.conrelid = r.oid WHERE contype = 'f' AND confrelid = r.oid
UNION ALL
  SELECT 'referenced by', conname, format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
      conrelid::regclass, conname, pg_get_constraintdef(c.oid)),
    format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname)
  FROM r JOIN pg_constraint c ON c.confrelid = r.oid
  WHERE contype = 'f' AND conrelid <> r.oid AND conparentid = 0
UNION ALL
  SELECT 'index', idx.relname, CASE WHEN conoid IS NOT NULL THEN
      format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', it, named, pg_get_constraintdef(conoid))
    WHEN starts_with(def, head || ' USING ') THEN
      format('CREATE %%sINDEX %%I ON %%s', CASE WHEN starts_with(def, 'CREATE UNIQUE ')
        THEN 'UNIQUE ' ELSE '' END, named, it)
      || substr(def, length(head) + 1) END, NULL
  FROM r, idx
UNION ALL
  SELECT 'index option', relname, concat_ws('; ',
    CASE WHEN conoid IS NOT NULL AND reloptions IS NOT NULL THEN
      format('ALTER INDEX %%s SET (%%s)', ix, array_to_string(reloptions, ', ')) END,
    CASE WHEN reltablespace <> 0 THEN format('ALTER INDEX %%s SET TABLESPACE %%I', ix,
      (SELECT spcname FROM pg_tablespace WHERE oid = reltablespace)) END,
    (SELECT string_agg(format('ALTER INDEX %%s ALTER COLUMN %%s SET STATISTICS %%s', ix, attnum,
      attstattarget), '; ' ORDER BY attnum)
      FROM pg_attribute WHERE attrelid = indexrelid AND attstattarget >= 0)), NULL
  FROM idx WHERE conoid IS NOT NULL AND reloptions IS NOT NULL OR reltablespace <> 0
    OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = indexrelid AND attstattarget >= 0)
UNION ALL
  SELECT 'rename', idx.relname, format('ALTER INDEX %%I.%%I RENAME TO %%I', r.nspname, named,
    idx.relname), NULL FROM r, idx WHERE %(stem)s IS NOT NULL
UNION ALL
  SELECT 'rename', seq.relname, format('ALTER SEQUENCE %%I.%%I RENAME TO %%I', r.nspname,
    %(stem)s || seqid, seq.relname), NULL
  FROM r, seq WHERE %(stem)s IS NOT NULL AND deptype = 'i'
UNION ALL
  SELECT CASE WHEN tgtype & 7 = 7 THEN 'shaping trigger' ELSE 'trigger' END, tgname,
    overlay(def PLACING format(' ON %%s ', it) FROM strpos(def, place) FOR length(place))
    || CASE tgenabled WHEN 'O' THEN '' ELSE format('; ALTER TABLE %%s %%s TRIGGER %%I', it,
      CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS'
      END, tgname) END, NULL
  FROM trg
UNION ALL
  SELECT 'rule', rulename, rtrim(pg_get_ruledef(w.oid), ';') || CASE ev_enabled WHEN 'O' THEN ''
    ELSE format('; ALTER TABLE %%s %%s RULE %%I', own, CASE ev_enabled WHEN 'D' THEN 'DISABLE'
      WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, rulename) END, NULL
  FROM r JOIN pg_rewrite w ON ev_class = r.oid WHERE rulename <> '_RETURN'
UNION ALL
  SELECT 'statistics', format('%%I.%%I', n.nspname, stxname), concat_ws('; ',
    pg_get_statisticsobjdef(s.oid), format('ALTER STATISTICS %%I.%%I OWNER TO %%I', n.nspname,
      stxname, pg_get_userbyid(stxowner)),
    CASE WHEN stxstattarget >= 0 THEN format('ALTER STATISTICS %%I.%%I SET STATISTICS %%s',
      n.nspname, stxname, stxstattarget) END), NULL
  FROM r JOIN pg_statistic_ext s ON stxrelid = r.oid JOIN pg_namespace n ON n.oid = stxnamespace
UNION ALL
  SELECT 'replica identity', '', format('ALTER TABLE %%s REPLICA IDENTITY %%s', own,
    CASE relreplident WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL' ELSE format('USING INDEX %%I',
      (SELECT idx.relname FROM idx WHERE indisreplident)) END), NULL
  FROM r WHERE relkind = 'r' AND relreplident <> 'd'
UNION ALL
  SELECT 'cluster', idx.relname, format('ALTER TABLE %%s CLUSTER ON %%I', own, idx.relname), NULL
  FROM r, idx WHERE indisclustered
UNION ALL
  SELECT 'publication', pubname, format('ALTER PUBLICATION %%I ADD TABLE ONLY %%s%%s%%s', pubname,
    own, (SELECT ' (' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')' FROM col
      WHERE attnum = ANY (prattrs)), ' WHERE (' || pg_get_expr(prqual, prrelid) || ')'), NULL
  FROM r JOIN pg_publication_rel ON prrelid = r.oid JOIN pg_publication p ON p.oid = prpubid
UNION ALL
  SELECT 'owner', '', format('ALTER TABLE %%s OWNER TO %%I', own, pg_get_userbyid(relowner)), NULL
  FROM r
UNION ALL
  SELECT 'grant', concat_ws(' ', privilege_type, thing, CASE WHEN grantee = 0 THEN 'PUBLIC'
    ELSE pg_get_userbyid(grantee) END), format('GRANT %%s ON %%s %%s TO %%s%%s', privilege_type,
    what, thing, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), NULL FROM acl
UNION ALL
  SELECT 'grant', concat_ws(' ', privilege_type, attname, CASE WHEN grantee = 0 THEN 'PUBLIC'
    ELSE pg_get_userbyid(grantee) END), format('GRANT %%s (%%I) ON %%s TO %%s%%s', privilege_type,
    attname, own,
    CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), NULL
  FROM r, col, aclexplode(attacl) WHERE attacl IS NOT NULL
UNION ALL
  SELECT 'policy', polname, format('CREATE POLICY %%I ON %%s AS %%s FOR %%s TO %%s%%s%%s',
    polname, own,
    CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
    CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
      WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    (SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END,
      ', ' ORDER BY role) FROM unnest(polroles) role),
    ' USING (' || pg_get_expr(polqual, polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')'), NULL
  FROM r JOIN pg_policy ON polrelid = r.oid
UNION ALL
  SELECT 'row security', flag, format('ALTER TABLE %%s %%s ROW LEVEL SECURITY', own, flag), NULL
  FROM r, LATERAL (SELECT 'ENABLE' AS flag WHERE relrowsecurity UNION ALL
    SELECT 'FORCE' WHERE relforcerowsecurity) flags
UNION ALL
  SELECT 'comment', o.identity, format('COMMENT ON %%s %%s IS %%L',
    CASE WHEN o.type LIKE '%% column' THEN 'COLUMN'
      WHEN o.type = 'table constraint' THEN 'CONSTRAINT'
      WHEN o.type = 'statistics object' THEN 'STATISTICS' ELSE upper(o.type) END,
    o.identity, description), NULL
  FROM (
    SELECT 'pg_class'::regclass AS class, r.oid FROM r
    UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM idx
    UNION ALL SELECT 'pg_class'::regclass, seqid FROM seq WHERE deptype = 'i'
    UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c, r
      WHERE conrelid = r.oid OR confrelid = r.oid
    UNION ALL SELECT 'pg_trigger'::regclass, oid FROM trg
    UNION ALL SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w, r WHERE ev_class = r.oid
    UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p, r WHERE polrelid = r.oid
    UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s, r
      WHERE stxrelid = r.oid
  ) thing JOIN pg_description d ON d.classoid = class AND d.objoid = thing.oid,
  pg_identify_object(class, thing.oid, objsubid) o
)
SELECT r.own, kind, name, make, unmake FROM r, item ORDER BY kind, name, make"""

# Which view or materialized view reads which relation, from one table upwards.
READERS = """
WITH RECURSIVE reads(reader, source) AS (
  SELECT w.ev_class, d.refobjid FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = %(oid)s AND w.rulename = '_RETURN' AND w.ev_class <> d.refobjid
UNION
  SELECT w.ev_class, d.refobjid FROM reads JOIN pg_depend d ON d.refobjid = reads.reader
    JOIN pg_rewrite w ON w.oid = d.objid
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
    AND w.rulename = '_RETURN' AND w.ev_class <> d.refobjid
)
SELECT reader, source, relkind::text FROM reads JOIN pg_class c ON c.oid = reader
WHERE relkind IN ('v', 'm')"""

# A view takes hold of what its text names by CREATE OR REPLACE, and lets go of it by a text
# without a table: its OID, grants, owner, comments and readers stay.
VIEW = r"""
SELECT format('%%I.%%I', n.nspname, c.relname), 'view', '',
  format('CREATE OR REPLACE VIEW %%I.%%I%%s AS %%s', n.nspname, c.relname,
    (SELECT ' WITH (' || string_agg(format('%%I=%%L', split_part(o, '=', 1),
      substr(o, strpos(o, '=') + 1)), ', ') || ')' FROM unnest(c.reloptions) o),
    rtrim(pg_get_viewdef(c.oid), ';')),
  format('CREATE OR REPLACE VIEW %%I.%%I AS SELECT %%s', n.nspname, c.relname,
    (SELECT string_agg(format('NULL::%%s%%s AS %%I', format_type(atttypid, atttypmod),
      CASE WHEN attcollation <> 0 THEN ' COLLATE ' || attcollation::regcollation ELSE '' END,
      attname), ', ' ORDER BY attnum) FROM pg_attribute
      WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s"""

# It is filled by its owner's rights, as REFRESH does, after all that belongs to it is there.
MATERIALIZED_VIEW = r"""
SELECT format('%%I.%%I', n.nspname, c.relname), kind, '', make, unmake
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL (VALUES
  ('materialized view', format('CREATE MATERIALIZED VIEW %%I.%%I USING %%I%%s AS %%s WITH NO DATA',
    n.nspname, c.relname, (SELECT amname FROM pg_am WHERE oid = c.relam),
    (SELECT format(' TABLESPACE %%I', spcname) FROM pg_tablespace WHERE oid = c.reltablespace),
    rtrim(pg_get_viewdef(c.oid), ';')),
    format('DROP MATERIALIZED VIEW %%I.%%I', n.nspname, c.relname)),
  ('content', CASE WHEN c.relispopulated THEN
    format('REFRESH MATERIALIZED VIEW %%I.%%I', n.nspname, c.relname) END, NULL)
) AS v(kind, make, unmake) WHERE c.oid = %(oid)s AND (kind <> 'content' OR make IS NOT NULL)"""

# What stands in the way of a swap, in words. `oids`: the table and the materialized views that are
# made anew with it; `readers`: all views that are.
PROBLEMS = r"""
WITH rel AS (SELECT c.* FROM pg_class c WHERE c.oid = ANY (%(oids)s::oid[])),
own(class, id) AS (
  SELECT 'pg_class'::regclass::oid, oid FROM rel
  UNION SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN rel ON t.typrelid = rel.oid
  UNION SELECT 'pg_type'::regclass, t.typarray FROM pg_type t JOIN rel ON t.typrelid = rel.oid
  UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index JOIN rel ON indrelid = rel.oid
  UNION SELECT 'pg_class'::regclass, reltoastrelid FROM rel
  UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index JOIN rel ON indrelid = reltoastrelid
  UNION SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN rel ON conrelid = rel.oid
  UNION SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN rel ON tgrelid = rel.oid
  UNION SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w
    WHERE ev_class = ANY (%(oids)s::oid[])
      OR ev_class = ANY (%(readers)s::oid[]) AND rulename = '_RETURN'
  UNION SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN rel ON polrelid = rel.oid
  UNION SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN rel ON adrelid = rel.oid
  UNION SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s JOIN rel
    ON stxrelid = rel.oid
  UNION SELECT 'pg_publication_rel'::regclass, p.oid FROM pg_publication_rel p JOIN rel
    ON prrelid = rel.oid
  UNION SELECT 'pg_class'::regclass, s.oid FROM pg_depend d JOIN rel ON d.refobjid = rel.oid
    JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.deptype = 'i'
), referring AS (
  SELECT c.oid, c.conrelid, f.relkind, f.relispartition, f.relowner FROM pg_constraint c
  JOIN pg_class f ON f.oid = c.conrelid
  WHERE contype = 'f' AND confrelid = ANY (%(oids)s::oid[]) AND conrelid <> ALL (%(oids)s::oid[])
)
SELECT 'it is partitioned' FROM rel WHERE relkind = 'p'
UNION ALL SELECT 'it is a partition' FROM rel WHERE relispartition
UNION ALL SELECT DISTINCT format('%%s inherits from %%s', inhrelid::regclass, inhparent::regclass)
  FROM pg_inherits JOIN rel ON rel.oid IN (inhrelid, inhparent)
  WHERE rel.relkind = 'r' AND NOT rel.relispartition
UNION ALL SELECT format('it is of type %%s', reloftype::regtype) FROM rel WHERE reloftype <> 0
UNION ALL SELECT DISTINCT format('%%s depends on it',
    pg_describe_object(d.classid, d.objid, d.objsubid))
  FROM pg_depend d JOIN own ON d.refclassid = own.class AND d.refobjid = own.id
  WHERE NOT EXISTS (SELECT FROM own o WHERE o.class = d.classid AND o.id = d.objid)
    AND NOT (d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT oid FROM referring))
    AND NOT (d.classid = 'pg_trigger'::regclass
      AND (SELECT tgisinternal FROM pg_trigger WHERE oid = d.objid))
    AND NOT (d.classid = 'pg_class'::regclass AND d.deptype = 'a'
      AND (SELECT relkind = 'S' FROM pg_class WHERE oid = d.objid))
UNION ALL SELECT DISTINCT format('%%s belongs to %%s',
    pg_describe_object(d.classid, d.objid, d.objsubid),
    pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid))
  FROM pg_depend d JOIN own ON d.classid = own.class AND d.objid = own.id
  WHERE d.deptype IN ('e', 'x')
UNION ALL SELECT format('%%s, which refers to it, is partitioned', conrelid::regclass)
  FROM referring WHERE relkind <> 'r' OR relispartition
UNION ALL SELECT format('%%s belongs to %%s', r.oid::regclass, pg_get_userbyid(r.relowner))
  FROM pg_class r WHERE NOT pg_has_role(r.relowner, 'USAGE')
    AND (r.oid = ANY (%(oids)s::oid[] || %(readers)s::oid[])
      OR r.oid IN (SELECT conrelid FROM referring))
UNION ALL SELECT format('publication %%I belongs to %%s', pubname, pg_get_userbyid(pubowner))
  FROM pg_publication p JOIN pg_publication_rel ON prpubid = p.oid JOIN rel ON prrelid = rel.oid
  WHERE NOT pg_has_role(pubowner, 'USAGE')
UNION ALL SELECT DISTINCT format('role %%s may not create in schema %%I',
    pg_get_userbyid(role), nspname)
  FROM rel JOIN pg_namespace n ON n.oid = relnamespace,
    LATERAL (VALUES (relowner), (current_user::regrole::oid)) AS who(role)
  WHERE NOT has_schema_privilege(role, n.oid, 'CREATE')
UNION ALL SELECT format('%%s was granted on %%s by %%s, who does not own it', privilege_type,
    rel.oid::regclass, pg_get_userbyid(grantor))
  FROM rel, LATERAL (SELECT * FROM aclexplode(relacl) UNION ALL SELECT g.* FROM pg_attribute,
    aclexplode(attacl) g WHERE attrelid = rel.oid) g WHERE grantor <> relowner
UNION ALL SELECT format('it has a security label of %%s', provider)
  FROM pg_seclabel l JOIN own ON l.classoid = own.class AND l.objoid = own.id
UNION ALL SELECT format('subscription %%I fills it', subname)
  FROM pg_subscription_rel JOIN rel ON srrelid = rel.oid JOIN pg_subscription s ON s.oid = srsubid
ORDER BY 1"""

# What was named with one stem, and how it gets another.
NAMED = """
SELECT c.relkind::text, format('ALTER %%s %%I.%%I RENAME TO %%I',
  CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END, n.nspname, c.relname,
  %(new)s || substr(c.relname, length(%(old)s) + 1))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('i', 'S') AND starts_with(c.relname, %(old)s)"""

# Default privileges may have given a new table grants that its predecessor has not.
REVOKE = """
DO $do$ DECLARE statement text; BEGIN
  FOR statement IN SELECT format('REVOKE ALL ON %s FROM %s', r.oid::regclass,
      CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM pg_class r, aclexplode(coalesce(relacl, acldefault(
      CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, relowner)))
    WHERE r.oid = {}::regclass GROUP BY 1
  LOOP EXECUTE statement; END LOOP;
END $do$"""
