//! Why a request got no answer, as a problem document (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A problem document: what programs decide on (`status`, `code`) and what people read (`detail`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status tells the kind, `code` the cause.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "about:blank")]
    pub kind: &'static str,
    /// The name of the status.
    #[schema(value_type = String, example = "Unprocessable Content")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    pub status: u16,
    /// The cause, for programs.
    pub code: Code,
    /// The cause, in a sentence with the evidence.
    pub detail: String,
    /// Seconds after which trying again makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

/// Causes of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request does not follow HTTP, multipart, or this API.
    Malformed,
    /// The key is missing or wrong.
    Unauthorized,
    /// There is nothing at this address.
    NotFound,
    /// This address knows other methods.
    WrongMethod,
    /// The body did not arrive in time.
    TooSlow,
    /// More bytes, seconds, channels or Hz than are accepted.
    TooLarge,
    /// The body is not audio.
    NotAudio,
    /// The audio cannot be decoded.
    Undecodable,
    /// There is no audio in it.
    TooShort,
    /// No such model is served here.
    NoModel,
    /// Too many songs at once of all clients.
    Busy,
    /// Too many songs at once of this client.
    TooMany,
    /// The service is about to stop.
    Stopping,
    /// The song took longer than is allowed.
    TooMuchWork,
    /// A mistake of this program.
    Bug,
}

impl Code {
    /// The name that is written: in documents, and as a label of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::WrongMethod => "wrong_method",
            Self::TooSlow => "too_slow",
            Self::TooLarge => "too_large",
            Self::NotAudio => "not_audio",
            Self::Undecodable => "undecodable",
            Self::TooShort => "too_short",
            Self::NoModel => "no_model",
            Self::Busy => "busy",
            Self::TooMany => "too_many",
            Self::Stopping => "stopping",
            Self::TooMuchWork => "too_much_work",
            Self::Bug => "bug",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::NoModel => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAudio => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Undecodable | Self::TooShort => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Stopping | Self::TooMuchWork => StatusCode::SERVICE_UNAVAILABLE,
            Self::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Problem {
    /// A problem with a sentence for people.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        let title = status.canonical_reason().unwrap_or("Error");
        let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        let retry_after_s = later.contains(&status).then_some(1);
        Self {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            code,
            detail: detail.into(),
            retry_after_s,
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// Adds what HTTP wants said in the head of such an answer, whatever its body.
    pub(crate) fn heads(&self, response: &mut Response) {
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Metrics count causes; the answer itself stays as it is.
        response.extensions_mut().insert(self.code);
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Json(&self).into_response();
        self.heads(&mut response);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl From<taggram::Error> for Problem {
    fn from(error: taggram::Error) -> Self {
        use taggram::ErrorKind as Kind;
        let code = match error.kind {
            Kind::NotAudio => Code::NotAudio,
            Kind::Malformed | Kind::Unsupported | Kind::Unreadable => Code::Undecodable,
            Kind::TooShort => Code::TooShort,
            Kind::OverLimit => Code::TooLarge,
            Kind::Cancelled => Code::TooMuchWork,
            Kind::NoModel => Code::NoModel,
            Kind::Bug => Code::Bug,
        };
        Self::new(code, error.message)
    }
}
