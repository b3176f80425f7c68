//! Where a leash gets its undoers: from what a ledger says of its cluster.

use futures_util::future::BoxFuture;

use crate::kubernetes::{Context, KubeUndoer};
use crate::rollback::{Header, IN_CLUSTER, Undoer, this_host};

/// An undoer for the cluster of a ledger, if it is still the same one.
pub(super) fn open(header: Header) -> BoxFuture<'static, Result<Box<dyn Undoer>, String>> {
    Box::pin(async move {
        if header.host != this_host() {
            return Err(format!("it was written on {}", header.host));
        }
        let context = context(&header).await?;
        let kubernetes = context.connect().map_err(|error| error.to_string())?;
        let uid = kubernetes.cluster_uid().await.map_err(|error| error.to_string())?;
        if uid != header.cluster {
            return Err(format!("context {:?} is another cluster by now", header.context));
        }
        Ok(Box::new(KubeUndoer::awaited(kubernetes)) as Box<dyn Undoer>)
    })
}

async fn context(header: &Header) -> Result<Context, String> {
    if header.context == IN_CLUSTER {
        return Context::in_cluster().map_err(|error| error.to_string());
    }
    // The user's own may be a list of files, which only the variable can say.
    let own = crate::variables::path("KUBECONFIG");
    let opened = match &header.kubeconfig {
        Some(file) if own.as_ref() != Some(file) => Context::in_file(file, &header.context).await,
        _ => Context::named(&header.context, "").await,
    };
    opened.map_err(|error| error.to_string())
}
