//! Where a value may come from, weakest first: `config/default.toml`, the file of `--config`, the environment, the
//! command line. The defaults are also the schema: a key that is not there does not exist, and its type is the type.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::Config;

const DEFAULTS: &str = include_str!("../../config/default.toml");
const PREFIX: &str = "BLOQ_ACCOUNTS_";

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--database-url`
    pub database_url: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
}

/// The process's environment, as far as it is text.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// By key, who set what is no default.
pub(super) type Origins = BTreeMap<String, String>;

/// All sources merged into one table that has every key, and which of them had a word in it.
pub(super) fn merged(
    overrides: &Overrides,
    environment: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<(Table, Origins)> {
    let mut table: Table = DEFAULTS.parse().expect("config/default.toml is TOML");
    let mut origins = Origins::new();
    if let Some(path) = &overrides.file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Table = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
        merge(&mut table, file, "", &path.display().to_string(), &mut origins)?;
    }

    let mut variables: Vec<_> = environment
        .filter(|(name, _)| name == "DATABASE_URL" || name.strip_prefix(PREFIX).is_some_and(|key| !is_foreign(key)))
        // DATABASE_URL is everybody's variable, so ours wins: sorted first, it is overwritten.
        .map(|(name, value)| (name != "DATABASE_URL", name, value))
        .collect();
    variables.sort();
    for (_, name, value) in variables {
        let key = match name.strip_prefix(PREFIX) {
            Some(key) => key.to_lowercase().replace("__", "."),
            None => "database.url".into(),
        };
        let source = format!("the environment ({name})");
        set(&mut table, &key, value, &source)?;
        origins.insert(key, source);
    }

    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    for (key, value, flag) in [
        ("data_dir", overrides.data_dir.as_ref().map(path), "--data-dir"),
        ("database.url", overrides.database_url.clone(), "--database-url"),
        ("server.listen", overrides.listen.clone(), "--listen"),
    ] {
        if let Some(value) = value {
            set(&mut table, key, value, flag)?;
            origins.insert(key.into(), flag.into());
        }
    }
    Ok((table, origins))
}

/// Orchestrators describe a service called "bloq-accounts" to its neighbours as BLOQ_ACCOUNTS_PORT… and
/// BLOQ_ACCOUNTS_SERVICE_…: names of theirs, not misspelled names of ours.
fn is_foreign(key: &str) -> bool {
    !key.contains("__") && (key.starts_with("PORT") || key.starts_with("SERVICE_"))
}

/// Puts a file's values over the defaults.
fn merge(base: &mut Table, over: Table, section: &str, source: &str, origins: &mut Origins) -> anyhow::Result<()> {
    for (name, value) in over {
        let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        let Some(slot) = base.get_mut(&name) else { bail!(unknown(&key, base, section, source)) };
        match (slot, value) {
            (Value::Table(slot), Value::Table(value)) => merge(slot, value, &key, source, origins)?,
            (slot, value) if slot.same_type(&value) => {
                *slot = value;
                origins.insert(key, source.into());
            }
            (slot, value) => {
                bail!("bad value for `{key}` in {source}: {} is needed, not {}", kind(slot), kind(&value))
            }
        }
    }
    Ok(())
}

/// Sets one key from text, read as the type that its default has.
fn set(table: &mut Table, key: &str, text: String, source: &str) -> anyhow::Result<()> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let home = match section {
        "" => Some(&mut *table),
        section => table.get_mut(section).and_then(Value::as_table_mut),
    };
    let Some(home) = home else { bail!(unknown(section, table, "", source)) };
    let Some(slot) = home.get_mut(name).filter(|slot| !slot.is_table()) else {
        bail!(unknown(key, home, section, source))
    };
    let bad = || format!("bad value for `{key}` in {source}: {} is needed", kind(slot));
    *slot = match slot {
        Value::Integer(_) => Value::Integer(text.trim().parse().with_context(bad)?),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().with_context(bad)?),
        Value::Array(_) => {
            Value::Array(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect())
        }
        _ => Value::String(text),
    };
    Ok(())
}

fn unknown(key: &str, known: &Table, section: &str, source: &str) -> String {
    let allowed = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let place = if section.is_empty() { "at the top".into() } else { format!("in [{section}]") };
    format!("unknown key `{key}` in {source}; allowed {place}: {allowed}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
        Value::Float(_) | Value::Datetime(_) => "another type",
    }
}

/// The merged table as a person may see it: what was filled in is shown, what is secret is not.
pub(super) fn masked(mut table: Table, config: &Config) -> anyhow::Result<String> {
    let filled = [
        ("data_dir", config.data_dir.to_string_lossy().into_owned()),
        ("server.public_url", config.server.public_url.clone()),
        ("tokens.issuer", config.tokens.issuer.clone()),
        ("wallet.siwe_domain", config.wallet.siwe_domain.clone()),
        ("password.max_parallel_hashes", config.password.max_parallel_hashes.to_string()),
    ];
    for (key, value) in filled {
        set(&mut table, key, value, "config")?;
    }
    for (section, name) in [("server", "master_key"), ("database", "url"), ("mail", "smtp_url")] {
        if let Some(Value::String(value)) = table.get_mut(section).and_then(|section| section.get_mut(name))
            && !value.is_empty()
        {
            *value = "***".into();
        }
    }
    Ok(toml::to_string(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> anyhow::Result<Table> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        merged(&Overrides::default(), variables).map(|(table, _)| table)
    }

    #[test]
    fn a_variable_is_read_as_the_type_of_its_default() {
        let table = load(&[
            ("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", "12345678"),
            ("BLOQ_ACCOUNTS_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1/128"),
            ("BLOQ_ACCOUNTS_PASSWORD__MIN_ENTROPY", "40"),
        ])
        .expect("all known");
        assert_eq!(table["server"]["master_key"].as_str(), Some("12345678"));
        assert_eq!(table["server"]["trusted_proxies"].as_array().map(Vec::len), Some(2));
        assert_eq!(table["password"]["min_entropy"].as_integer(), Some(40));
    }

    #[test]
    fn an_unknown_variable_is_refused_with_what_is_allowed() {
        let message = load(&[("BLOQ_ACCOUNTS_GRPC__LISTN", "x")]).expect_err("unknown").to_string();
        assert_eq!(
            message,
            "unknown key `grpc.listn` in the environment (BLOQ_ACCOUNTS_GRPC__LISTN); allowed in [grpc]: \
             idle_timeout_seconds, listen, max_connection_age_seconds, max_streams, tls_listen"
        );
        assert!(load(&[("BLOQ_ACCOUNTS_NOWHERE__KEY", "x")]).is_err());
        assert!(load(&[("BLOQ_ACCOUNTS_SERVER", "x")]).is_err());
        assert!(load(&[("BLOQ_ACCOUNTS_PORT_4000_TCP", "tcp://10.0.0.1:4000")]).is_ok(), "an orchestrator's name");
    }

    #[test]
    fn our_own_variable_wins_over_database_url() {
        let table = load(&[("DATABASE_URL", "postgres://a/b"), ("BLOQ_ACCOUNTS_DATABASE__URL", "postgres://c/d")])
            .expect("all known");
        assert_eq!(table["database"]["url"].as_str(), Some("postgres://c/d"));
    }
}
