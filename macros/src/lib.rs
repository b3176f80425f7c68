//! The attribute `#[steadfast::test]`.

use proc_macro::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ItemFn, LitStr, ReturnType, Token, parse_macro_input};

/// What stands in the parentheses.
#[derive(Default)]
struct Arguments {
    setup: Option<Expr>,
    needs: Option<LitStr>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let name: syn::Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match name.to_string().as_str() {
                "setup" => arguments.setup = Some(input.parse()?),
                "needs" => arguments.needs = Some(input.parse()?),
                _ => {
                    return Err(syn::Error::new(
                        name.span(),
                        "unknown argument; known are `setup = f` and `needs = \"kind\"` or `\"embedded\"`",
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// A test on a cluster: on the embedded lab in virtual time, or on the one that `STEADFAST_CLUSTER` asks for.
///
/// - `setup = f`: first awaits `f(&cluster)`, which applies manifests; without it the cluster is empty.
/// - `needs = "kind"`: ignored, with that reason, unless asked for with `--ignored` or `--include-ignored`. It fails where
///   `STEADFAST_CLUSTER` says something else than `kind[:NAME]`; and where `STEADFAST_REQUIRE` has `kind`, a second test
///   beside it, `NAME::is_not_left_out`, fails if it is not run. nextest does not tell it what else is run: there it fails
///   unless `STEADFAST_IGNORED=run` says that ignored tests are.
/// - `needs = "embedded"`: runs on the embedded lab, whatever `STEADFAST_CLUSTER` says.
///
/// The function is `async`, takes the `Cluster` (or nothing) and returns `steadfast::Result`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    let function = parse_macro_input!(item as ItemFn);
    expand(arguments, function).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(arguments: Arguments, mut function: ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(syn::Error::new_spanned(signature.fn_token, "an experiment is an async fn: write `async fn`"));
    }
    if matches!(signature.output, ReturnType::Default) {
        return Err(syn::Error::new_spanned(&signature.ident, "an experiment can fail: return `steadfast::Result`"));
    }
    if signature.inputs.len() > 1 {
        return Err(syn::Error::new_spanned(&signature.inputs, "an experiment takes one argument: `cluster: Cluster`"));
    }
    let name = signature.ident.clone();
    let output = signature.output.clone();
    let call = if signature.inputs.is_empty() { quote!(#name()) } else { quote!(#name(cluster)) };
    let setup = arguments.setup.map(|setup| quote!(#setup(&cluster).await?;));
    // `#[ignore]`, `#[cfg]` and doc comments belong to the outer test.
    let attributes = std::mem::take(&mut function.attrs);
    let needs = match arguments.needs {
        Some(needs) if !["embedded", "kind"].contains(&needs.value().as_str()) => {
            return Err(syn::Error::new_spanned(needs, "a test needs \"kind\" or \"embedded\""));
        }
        needs => needs.map(|needs| needs.value()),
    };
    let target = match needs.as_deref() {
        Some("embedded") => quote!(&::steadfast::cluster::Target::Embedded),
        Some(needs) => quote!(&::steadfast::cluster::Target::needed(#needs)?),
        None => quote!(&::steadfast::cluster::Target::from_env()?),
    };
    let needs = needs.filter(|needs| needs != "embedded");
    let ignore = needs.as_ref().map(|needs| {
        let reason = format!("not run, since it needs {needs}: STEADFAST_CLUSTER={needs} cargo test -- --ignored");
        quote!(#[ignore = #reason])
    });
    // libtest ignores at compile time: whether that is welcome only a test that is not ignored can say.
    let beside = needs.map(|needs| {
        let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
        quote! {
            #(#conditions)*
            #[cfg(test)]
            #[doc(hidden)]
            mod #name {
                #[::core::prelude::v1::test]
                fn is_not_left_out() -> ::steadfast::Result {
                    let test = module_path!();
                    Ok(::steadfast::cluster::not_left_out(#needs, test.split_once("::").map_or(test, |(_, test)| test))?)
                }
            }
        }
    });
    Ok(quote! {
        #(#attributes)*
        #ignore
        #[::core::prelude::v1::test]
        fn #name() #output {
            #function
            ::steadfast::cluster::run_test_on(
                #target,
                concat!(module_path!(), "::", stringify!(#name)),
                async |cluster: ::steadfast::cluster::Cluster| {
                    #setup
                    #call.await
                },
            )
        }
        #beside
    })
}
