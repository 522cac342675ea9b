//! What every store promises, on PostgreSQL.

use std::sync::Arc;

use m2m_store::conformance;

mod common;

#[test]
fn every_promise_of_a_store_is_kept() {
    let Some(_) = common::fresh() else { return };
    common::run(async {
        let (mut kept, mut broken) = (0, Vec::new());
        for case in conformance::cases() {
            let config = common::fresh().expect("a server");
            let store = Arc::new(common::store(&config).await);
            match case.run_on(store, |task| drop(tokio::spawn(task))).await {
                Ok(()) => kept += 1,
                Err(violation) => broken.push(violation.to_string()),
            }
        }
        println!("{kept} promises kept");
        assert!(broken.is_empty(), "{broken:#?}");
    });
}

#[test]
fn every_promise_is_kept_without_a_runtime_of_the_callers() {
    let Some(_) = common::fresh() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    for case in conformance::cases() {
        let config = common::fresh().expect("a server").with_wake_ups();
        let store = Arc::new(runtime.block_on(common::store(&config)));
        if let Err(violation) = pollster::block_on(case.run(store)) {
            panic!("{violation}");
        }
    }
}
