//! The contenders that are not ours.

pub mod josekit;
pub mod jsonwebtoken;
mod jwt_simple;
pub(crate) mod raw;

pub use self::jsonwebtoken::Backend;

use crate::contender::Recipe;
use crate::fixture::Algorithm;

/// Every rival's operations; in each group the raw ring operation comes first and is the measure.
pub fn recipes() -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for algorithm in Algorithm::ALL {
        recipes.extend(raw::verifying(algorithm));
        recipes.extend(jsonwebtoken::verifying(algorithm));
        recipes.push(jwt_simple::verifying(algorithm));
        recipes.push(josekit::verifying(algorithm));
    }
    for algorithm in Algorithm::ALL {
        recipes.extend(raw::minting(algorithm));
        recipes.extend(jsonwebtoken::minting(algorithm));
        recipes.push(jwt_simple::minting(algorithm));
        recipes.push(josekit::minting(algorithm));
    }
    recipes
}

fn verify_id(algorithm: Algorithm, library: &str) -> String {
    format!("token/verify/{}/{library}", algorithm.id())
}

fn mint_id(algorithm: Algorithm, library: &str) -> String {
    format!("token/mint/{}/{library}", algorithm.id())
}
