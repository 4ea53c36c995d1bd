//! The names of agents.

use std::any::type_name;

/// The alias of an agent by the name of its type.
pub(crate) fn alias_of_type<T: ?Sized>() -> String {
    alias_of_name(type_name::<T>())
}

fn alias_of_name(full: &str) -> String {
    let mut name = full.split('<').next().unwrap_or(full);
    while let Some(outer) = name.strip_suffix("::{{closure}}") {
        name = outer;
    }
    let name: Vec<char> = name.rsplit("::").next().unwrap_or(name).chars().collect();
    let mut alias = String::new();
    for (place, letter) in name.iter().enumerate() {
        if place > 0 && begins_word(&name, place) {
            alias.push('_');
        }
        alias.extend(letter.to_uppercase());
    }
    alias
}

/// Whether a word of a name in camel case begins here: `Web|Search`, `OpenAI|Agent`, `Agent|XYZ`.
fn begins_word(name: &[char], place: usize) -> bool {
    let before_small =
        name[place].is_uppercase() && name.get(place + 1).is_some_and(|next| next.is_lowercase());
    let last_capitals =
        name[place - 1].is_lowercase() && name[place..].iter().all(|c| c.is_uppercase());
    before_small || last_capitals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_aliases() {
        for (name, alias) in [
            ("my_crate::my_agent", "MY_AGENT"),
            ("my_crate::WebSearch", "WEB_SEARCH"),
            ("OpenAIAgent", "OPENAI_AGENT"),
            ("AgentXYZ", "AGENT_XYZ"),
            ("agent1", "AGENT1"),
            ("my_crate::main::{{closure}}::{{closure}}", "MAIN"),
            ("my_crate::Generic<other::Type>", "GENERIC"),
        ] {
            assert_eq!(alias_of_name(name), alias);
        }
    }
}
