//! What a role was granted, as the statements that grant it.

use std::collections::BTreeSet;

use tokio_postgres::{Error, GenericClient};

use super::sql::identifier;

/// One thing that a role was granted: a statement without the role's name, which comes between its two parts.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Grant {
    before: String,
    after: String,
}

/// Returns the statements that grant to `new` what `old` has and `new` has not.
pub(super) async fn missing<C: GenericClient + Sync>(
    client: &C,
    old: &str,
    new: &str,
) -> Result<Vec<String>, Error> {
    let (has, lacks) = (of(client, old).await?, of(client, new).await?);
    let statement = |Grant { before, after }: &Grant| format!("{before} {}{after}", identifier(new));
    Ok(has.difference(&lacks).map(statement).collect())
}

async fn of<C: GenericClient + Sync>(client: &C, role: &str) -> Result<BTreeSet<Grant>, Error> {
    let rows = client.query(GRANTS, &[&role]).await?;
    Ok(rows.iter().map(|row| Grant { before: row.get(0), after: row.get(1) }).collect())
}

/// Memberships, settings, and the access privileges of everything in this database that may be granted to a role by name
/// (<https://www.postgresql.org/docs/current/ddl-priv.html>). Large objects and parameters are left out.
const GRANTS: &str = r"
WITH me AS (SELECT oid FROM pg_roles WHERE rolname = $1),
privileges(kind, object, acl) AS (
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, format('%I.%I', n.nspname, c.relname), c.relacl
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relacl IS NOT NULL
  UNION ALL SELECT 'SCHEMA', format('%I', nspname), nspacl FROM pg_namespace WHERE nspacl IS NOT NULL
  UNION ALL SELECT 'DATABASE', format('%I', datname), datacl FROM pg_database WHERE datacl IS NOT NULL
  UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, proacl FROM pg_proc WHERE proacl IS NOT NULL
  UNION ALL SELECT 'TYPE', oid::regtype::text, typacl FROM pg_type WHERE typacl IS NOT NULL
  UNION ALL SELECT 'LANGUAGE', format('%I', lanname), lanacl FROM pg_language WHERE lanacl IS NOT NULL
  UNION ALL SELECT 'FOREIGN DATA WRAPPER', format('%I', fdwname), fdwacl FROM pg_foreign_data_wrapper WHERE fdwacl IS NOT NULL
  UNION ALL SELECT 'FOREIGN SERVER', format('%I', srvname), srvacl FROM pg_foreign_server WHERE srvacl IS NOT NULL
  UNION ALL SELECT 'TABLESPACE', format('%I', spcname), spcacl FROM pg_tablespace WHERE spcacl IS NOT NULL
)
SELECT format('GRANT %s ON %s %s TO', a.privilege_type, p.kind, p.object),
       CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM privileges p, aclexplode(p.acl) a, me WHERE a.grantee = me.oid
UNION
SELECT format('GRANT %s (%I) ON TABLE %I.%I TO', a.privilege_type, c.attname, n.nspname, t.relname),
       CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM pg_attribute c JOIN pg_class t ON t.oid = c.attrelid JOIN pg_namespace n ON n.oid = t.relnamespace,
       aclexplode(c.attacl) a, me
  WHERE c.attacl IS NOT NULL AND a.grantee = me.oid
UNION
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO', pg_get_userbyid(d.defaclrole),
         CASE WHEN d.defaclnamespace = 0 THEN '' ELSE format(' IN SCHEMA %I', d.defaclnamespace::regnamespace::name) END, a.privilege_type,
         CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END),
       CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM pg_default_acl d, aclexplode(d.defaclacl) a, me WHERE a.grantee = me.oid
UNION
SELECT format('GRANT %I TO', pg_get_userbyid(m.roleid)), CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END
  FROM pg_auth_members m, me WHERE m.member = me.oid
UNION
SELECT 'ALTER ROLE',
       format('%s SET %I TO %s', CASE WHEN s.setdatabase = 0 THEN '' ELSE format(' IN DATABASE %I', d.datname) END,
         split_part(setting, '=', 1),
         -- Lists are kept as they are written; anything else is one text.
         CASE WHEN split_part(setting, '=', 1) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
           THEN coalesce(nullif(substr(setting, strpos(setting, '=') + 1), ''), '''''')
           ELSE quote_literal(substr(setting, strpos(setting, '=') + 1)) END)
  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) setting, me
  WHERE s.setrole = me.oid";
