//! Embeddings: texts out, vectors in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::error::{Error, HttpFailure, Result, What, Why};
use crate::llm::refusal::{beginning, error_message, failure, parse};

/// Which texts are to become vectors.
///
/// ```
/// use miniagents::llm::openai::{EmbeddingsRequest, embeddings};
///
/// let texts = ["one".to_owned(), "two".to_owned()];
/// let extra = serde_json::Map::new();
/// let request = EmbeddingsRequest { model: "text-embedding-3-small", texts: &texts, extra: &extra };
/// let body: serde_json::Value = serde_json::from_slice(&request.body()?)?;
/// assert_eq!(body["input"][1], "two");
///
/// let answer = r#"{"data": [{"index": 1, "embedding": [1, -0.5]}, {"index": 0, "embedding": "AACAPgAAgD8="}]}"#;
/// assert_eq!(embeddings(answer, texts.len())?, [[0.25, 1.0], [1.0, -0.5]]);
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingsRequest<'a> {
    /// The name of the model.
    pub model: &'a str,
    /// The texts, each of which becomes a vector.
    pub texts: &'a [String],
    /// Further fields, sent as they are. Without an `encoding_format` among them `base64` is asked for,
    /// as the vendor's SDK does: it is short, and exact.
    pub extra: &'a Map<String, Value>,
}

impl EmbeddingsRequest<'_> {
    /// The bytes to send.
    ///
    /// # Errors
    ///
    /// There is no text, or a further field is one that the request sets itself.
    pub fn body(&self) -> Result<Vec<u8>> {
        let wrong = |text: String| Err(Error::own(What::Value, text));
        if self.texts.is_empty() {
            return wrong("there is no text to make embeddings of".into());
        }
        let mut body = Map::new();
        body.insert("input".into(), self.texts.into());
        body.insert("model".into(), self.model.into());
        if let Some(name) = self.extra.keys().find(|name| body.contains_key(*name)) {
            return wrong(format!(
                "the field `{name}` cannot be set beside the request's own"
            ));
        }
        body.insert("encoding_format".into(), "base64".into());
        body.extend(self.extra.clone());
        Ok(serde_json::to_vec(&body)?)
    }
}

/// The vectors of an answer, in the order of the texts, of which there were `texts`. Whatever was asked
/// for, a vector may be a list of numbers or their 32-bit floats in base64.
///
/// # Errors
///
/// The answer is not JSON, or says that the server failed, or does not have one vector for each text.
pub fn embeddings(body: &str, texts: usize) -> Result<Vec<Vec<f64>>> {
    let answer = parse(body)?;
    let what = "the model's server failed, with a status of success";
    if let Some(error) = failure(&answer, what) {
        return Err(error);
    }
    let Some(Value::Array(data)) = answer.get("data") else {
        let said = error_message(body).unwrap_or_else(|| beginning(body));
        return Err(malformed(format!("the answer has no embeddings: {said}")));
    };
    if data.is_empty() {
        return Err(malformed(
            "the answer has no embeddings: its list of them is empty",
        ));
    }
    if data.len() != texts {
        let count = data.len();
        return Err(malformed(format!(
            "the number of embeddings in the answer is {count}, that of the texts {texts}"
        )));
    }
    let mut vectors: Vec<Option<Vec<f64>>> = vec![None; texts];
    for (place, entry) in data.iter().enumerate() {
        let place = match entry.get("index") {
            None | Some(Value::Null) => place,
            Some(index) => match index.as_f64() {
                Some(index) if index >= 0.0 => index as usize,
                _ => usize::MAX,
            },
        };
        match vectors.get_mut(place) {
            Some(free @ None) => *free = Some(vector(entry.get("embedding"))?),
            _ => {
                let text = "the embeddings in the answer cannot be told apart by their `index`";
                return Err(malformed(text));
            }
        }
    }
    Ok(vectors.into_iter().flatten().collect())
}

fn vector(embedding: Option<&Value>) -> Result<Vec<f64>> {
    let vector = match embedding {
        Some(Value::Array(numbers)) if numbers.first().is_some_and(Value::is_array) => {
            return Err(malformed(
                "an embedding in the answer is a list of lists, one for each token: the server does not pool \
                 them into one (llama.cpp does with `--pooling mean`)",
            ));
        }
        Some(Value::Array(numbers)) => numbers.iter().map(Value::as_f64).collect(),
        Some(Value::String(text)) => from_base64(text),
        _ => None,
    };
    let vector = vector.filter(|numbers: &Vec<f64>| numbers.iter().all(|it| it.is_finite()));
    match vector {
        Some(vector) if vector.is_empty() => Err(malformed("an embedding in the answer is empty")),
        Some(vector) => Ok(vector),
        None => Err(malformed(
            "an embedding in the answer is neither a list of numbers nor floats in base64",
        )),
    }
}

fn from_base64(text: &str) -> Option<Vec<f64>> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let floats = bytes.chunks(4).map(|four| {
        let four: [u8; 4] = four.try_into().ok()?;
        Some(f64::from(f32::from_le_bytes(four)))
    });
    floats.collect()
}

fn malformed(text: impl Into<String>) -> Error {
    HttpFailure::new(Why::Malformed).error(text.into(), None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(numbers: &[f32]) -> String {
        let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }

    #[test]
    fn both_forms_are_read_in_the_order_of_the_texts() {
        let entry =
            |index: Value, embedding: Value| json!({"index": index, "embedding": embedding});
        for data in [
            json!([
                entry(json!(1), json!([1, 2.5])),
                entry(json!(0), json!(encoded(&[0.5, -3.0])))
            ]),
            json!([
                entry(json!(1.0), json!(encoded(&[1.0, 2.5]))),
                entry(json!(0), json!([0.5, -3]))
            ]),
            json!([{"embedding": [0.5, -3.0]}, {"index": null, "embedding": [1, 2.5]}]),
        ] {
            let vectors = embeddings(&json!({"data": data}).to_string(), 2).unwrap();
            assert_eq!(vectors, [[0.5, -3.0], [1.0, 2.5]]);
        }
        // As precise as it came.
        let vectors = embeddings(
            &json!({"data": [{"embedding": encoded(&[0.1])}]}).to_string(),
            1,
        )
        .unwrap();
        assert_eq!(vectors, [[f64::from(0.1_f32)]]);
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let one =
            |embedding: Value| json!({"data": [{"index": 0, "embedding": embedding}]}).to_string();
        for (body, said) in [
            (r#"{"data": []}"#.to_owned(), "its list of them is empty"),
            (
                r#"{"detail": "boom"}"#.to_owned(),
                "the answer has no embeddings: boom",
            ),
            (
                r#"{"data": [{"embedding": [1]}, {"embedding": [2]}]}"#.to_owned(),
                "is 2, that of the texts 1",
            ),
            (
                r#"{"data": [{"index": 1, "embedding": [1]}]}"#.to_owned(),
                "by their `index`",
            ),
            (
                r#"{"data": [{"index": -1, "embedding": [1]}]}"#.to_owned(),
                "by their `index`",
            ),
            (
                one(json!([[1.0], [2.0]])),
                "a list of lists, one for each token",
            ),
            (one(json!([])), "is empty"),
            (
                one(json!([1, "x"])),
                "neither a list of numbers nor floats in base64",
            ),
            (one(json!("AAAA")), "neither"),
            (one(json!("no base64!")), "neither"),
            (one(json!(encoded(&[f32::NAN]))), "neither"),
            (one(Value::Null), "neither"),
            ("{\"data\": [{\"embedding\": [NaN]}]}".to_owned(), "neither"),
            ("data: {}\n\n".to_owned(), "not JSON"),
        ] {
            let error = embeddings(&body, 1).unwrap_err();
            assert!(
                error.is_malformed() && error.to_string().contains(said),
                "{body}: {error}"
            );
        }
        let failed = embeddings(r#"{"error": {"message": "boom"}}"#, 1).unwrap_err();
        assert!(failed.is_refused() && failed.vendor_message() == Some("boom"));
    }

    #[test]
    fn further_fields_go_out_as_they_came() {
        let texts = ["a".to_owned()];
        let body = |extra: Value| {
            let extra = extra.as_object().unwrap();
            let request = EmbeddingsRequest {
                model: "m",
                texts: &texts,
                extra,
            };
            request.body().map(|body| String::from_utf8(body).unwrap())
        };
        assert_eq!(
            body(json!({"dimensions": 7})).unwrap(),
            r#"{"dimensions":7,"encoding_format":"base64","input":["a"],"model":"m"}"#
        );
        assert_eq!(
            body(json!({"encoding_format": "float"})).unwrap(),
            r#"{"encoding_format":"float","input":["a"],"model":"m"}"#
        );
        assert!(body(json!({"input": "x"})).unwrap_err().is_value());
        let none = EmbeddingsRequest {
            model: "m",
            texts: &[],
            extra: &Map::new(),
        };
        assert!(none.body().unwrap_err().is_value());
    }
}
