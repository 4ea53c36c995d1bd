//! JSON schemas of Rust types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema of a type as models understand it best: everything in its place but what refers to
/// itself, and without the marks that are for validators.
///
/// ```
/// use miniagents::llm::schema_of;
/// use serde_json::json;
///
/// #[derive(schemars::JsonSchema)]
/// struct City { name: String }
///
/// assert_eq!(
///     schema_of::<City>(),
///     json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
/// );
/// ```
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_says_what_the_type_says_and_nothing_more() {
        /// A place.
        #[derive(JsonSchema)]
        #[allow(dead_code, reason = "only its shape matters")]
        struct Place {
            /// The name.
            city: String,
            kind: Option<Kind>,
        }
        #[derive(JsonSchema)]
        #[serde(rename_all = "lowercase")]
        #[allow(dead_code, reason = "only its shape matters")]
        enum Kind {
            Big,
            Small,
        }

        assert_eq!(
            schema_of::<Place>(),
            json!({
                "description": "A place.",
                "type": "object",
                "properties": {
                    "city": {"description": "The name.", "type": "string"},
                    "kind": {"type": ["string", "null"], "enum": ["big", "small", null]},
                },
                "required": ["city"],
            })
        );
    }
}
