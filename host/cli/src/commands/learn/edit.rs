//! Puts learnt capabilities into a `plugin.toml`, and leaves everything else as it stands.

use toml_edit::{DocumentMut, Item, Table, TableLike};

const CAPABILITIES: &str = "capabilities";

/// The text of `plugin.toml` with the capabilities in `lines`, which begin with their table.
///
/// # Errors
/// One of them is no TOML, or has capabilities that are no table.
pub(super) fn with_capabilities(text: &str, lines: &str) -> Result<String, String> {
    let mut file: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let mut learnt: DocumentMut = lines.parse().map_err(|error| format!("{error}"))?;
    let learnt = learnt.remove(CAPABILITIES).unwrap_or_else(|| Item::Table(Table::new()));
    let learnt = learnt.as_table_like().ok_or("the capabilities learnt are no table")?;
    match file.get_mut(CAPABILITIES) {
        Some(item) => {
            let table = item.as_table_like_mut().ok_or("`capabilities` is not a table")?;
            merge(table, learnt);
            if table.is_empty() {
                file.remove(CAPABILITIES);
            }
        }
        None if learnt.is_empty() => {}
        None => {
            let table = learnt.iter().map(|(key, item)| (key.to_owned(), item.clone()));
            file.insert(CAPABILITIES, Item::Table(table.collect()));
        }
    }
    Ok(file.to_string())
}

/// Makes `table` hold what `learnt` does: values that are the same keep their form and comments.
fn merge(table: &mut dyn TableLike, learnt: &dyn TableLike) {
    let gone: Vec<_> = table.iter().map(|(key, _)| key.to_owned()).collect();
    for key in gone.iter().filter(|key| !learnt.contains_key(key)) {
        table.remove(key);
    }
    for (key, new) in learnt.iter() {
        match (table.get_mut(key), new.as_table_like()) {
            (Some(old), Some(new)) if old.is_table_like() => {
                if let Some(old) = old.as_table_like_mut() {
                    merge(old, new);
                }
            }
            (Some(old), _) if plain(old) == plain(new) => {}
            (Some(old), _) => *old = new.clone(),
            (None, _) => {
                table.insert(key, new.clone());
            }
        }
    }
}

/// A value without the blanks, comments and kinds of quotes around and in it.
fn plain(item: &Item) -> Option<String> {
    use toml_edit::Value;
    fn of(value: &Value) -> String {
        match value {
            Value::String(text) => format!("{:?}", text.value()),
            Value::Array(list) => {
                let list: Vec<_> = list.iter().map(of).collect();
                format!("[{}]", list.join(","))
            }
            Value::InlineTable(table) => {
                let mut entries: Vec<_> =
                    table.iter().map(|(key, value)| format!("{key:?}={}", of(value))).collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
            other => other.clone().decorated("", "").to_string(),
        }
    }
    item.as_value().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Reads pages.
name = \"x\"

# What it asks for.
[capabilities]
clock = true # for time-outs
http = ['GET https://**/**']

[capabilities.optional]
random = true

# A key.
[capabilities.optional.secrets.key] # kept
description = \"a key\"
inject = { header = \"x-key\" }

[tools.a]
title = \"A\" # stays
";

    #[test]
    fn what_is_learnt_replaces_and_the_rest_stays() {
        let lines = "[capabilities]\nhttp = [\"GET https://a.test/\"]\n\
                     [capabilities.optional.secrets.key]\ndescription = \"a key\"\n\
                     [capabilities.optional.secrets.key.inject]\nheader = \"x-key\"\n";
        let edited = with_capabilities(FILE, lines).expect("edited");
        let expected = FILE
            .replace("clock = true # for time-outs\n", "")
            .replace("'GET https://**/**'", "\"GET https://a.test/\"")
            .replace("random = true\n", "");
        assert_eq!(edited, expected);
    }

    #[test]
    fn nothing_changes_where_all_is_used() {
        let lines = "[capabilities]\nclock = true\nhttp = [\"GET https://**/**\"]\n\
                     [capabilities.optional]\nrandom = true\n\
                     [capabilities.optional.secrets.key]\ndescription = \"a key\"\n\
                     inject = { header = \"x-key\" }\n";
        assert_eq!(with_capabilities(FILE, lines).as_deref(), Ok(FILE));
    }

    #[test]
    fn capabilities_come_and_go() {
        let none = with_capabilities(FILE, "[capabilities]\n").expect("edited");
        assert!(!none.contains("capabilities"), "{none}");
        assert!(none.starts_with("# Reads pages.\nname = \"x\"\n"), "{none}");
        assert!(none.ends_with("[tools.a]\ntitle = \"A\" # stays\n"), "{none}");
        let some = with_capabilities("name = \"x\"\n", "[capabilities]\nclock = true\n");
        assert_eq!(some.as_deref(), Ok("name = \"x\"\n\n[capabilities]\nclock = true\n"));
        assert!(with_capabilities("capabilities = 1", "[capabilities]\nclock = true").is_err());
        assert!(with_capabilities("[", "").is_err());
    }
}
