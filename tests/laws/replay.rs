//! Law 4: a promise resolves once. What its readers see is in the replay of `tests/fuzzed`.

use std::cell::Cell;
use std::rc::Rc;

use miniagents::executor::{gather, spawn, yield_now};
use miniagents::{Error, Promise, PromisingContext, Start};

#[test]
fn every_awaiter_gets_the_one_value_or_the_one_error() {
    for start in [Start::Soon, Start::OnDemand] {
        let run = PromisingContext::new().with_virtual_clock();
        run.run(async {
            let runs = Rc::new(Cell::new(0));
            let (one, two) = (runs.clone(), runs.clone());
            let value = Promise::with_start(start, async move {
                one.set(one.get() + 1);
                yield_now().await;
                Ok(Rc::new(7))
            });
            let error = Promise::<()>::with_start(start, async move {
                two.set(two.get() + 1);
                yield_now().await;
                Err(Error::msg("no"))
            });
            let early: Vec<_> = (0..3)
                .map(|_| {
                    let (value, error) = (value.clone(), error.clone());
                    spawn(async move { (value.await.unwrap(), error.await.unwrap_err()) })
                })
                .collect();
            gather([value.clone(), value.clone()]).await;
            let (late, failure) = ((&value).await?, (&error).await.unwrap_err());
            for awaiter in early {
                let (same, same_failure) = awaiter.await?;
                assert!(Rc::ptr_eq(&same, &late));
                assert!(same_failure.ptr_eq(&failure));
            }
            assert_eq!(runs.get(), 2);
            Ok(())
        })
        .unwrap();
    }
}
