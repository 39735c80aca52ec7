//! The description of the API for programs, made from the code (OpenAPI 3.1).

use axum::Json;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::api;
use crate::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "taggram",
        description = "A song in, its genre out, and how the genres unfold over time.",
    ),
    paths(
        api::classify::classify,
        api::original::classify,
        api::about::models,
        api::about::health,
        api::about::ready,
        api::about::metrics,
    ),
    components(schemas(api::SongAnswer, Problem)),
    modifiers(&Key),
    tags(
        (name = "songs", description = "What it is there for"),
        (name = "service", description = "What it says of itself"),
    ),
)]
struct Api;

struct Key;

impl Modify for Key {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        openapi
            .components
            .get_or_insert_with(Default::default)
            .add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The description, as `/openapi.json` gives it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

pub(crate) async fn document() -> impl IntoResponse {
    Json(openapi())
}
