//! Price lists made by the providers' documented shapes: AWS's "Reading the service price list
//! file", Azure's "Retail Prices REST API" and Google's reference of `services.skus.list`. Prices
//! are those that the providers had in 2026 as far as they are known, and others by hand.

use serde_json::{Value, json};

use super::{
    PriceListError, PriceListFormat, PriceListImport, PriceOrigin, RegionalPrices, read_price_list,
};
use crate::{Exact, PriceModel, Terms, UsageGroup};
use cyclometer_core::meter::{Meter, Usage};
use cyclometer_core::units::Nanos;

const TODAY: &str = "2026-11-29";

fn read(format: PriceListFormat, text: &str) -> PriceListImport {
    read_price_list(format, text.as_bytes(), TODAY).unwrap_or_else(|error| panic!("{error}"))
}

fn contract(prices: &RegionalPrices) -> PriceModel {
    let origin = PriceOrigin { source: "a list of a test", retrieved: "2026-11-29" };
    let text = prices.to_contract(origin).unwrap_or_else(|error| panic!("{error}"));
    PriceModel::parse_first(&text, "contract.toml")
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn find<'a>(import: &'a PriceListImport, model: &str, region: &str) -> &'a RegionalPrices {
    let found = import.regions.iter().find(|it| it.model == model && it.region == region);
    found.unwrap_or_else(|| panic!("no {model} in {region}"))
}

/// Returns the prices of a position's tiers, with their ends.
fn tiers(model: &PriceModel, position: &str) -> Vec<(Option<String>, String)> {
    let pool = model.pools().iter().find(|pool| pool.name() == position).expect("a position");
    let tier = |tier: &crate::Tier| {
        let end = tier.up_to.as_ref().map(Exact::to_plain_string);
        (end, tier.price.to_plain_string())
    };
    pool.tiers().iter().map(tier).collect()
}

fn plain(price: &str) -> Vec<(Option<String>, String)> {
    vec![(None, price.to_owned())]
}

fn product(sku: &str, usage: &str, region: &str) -> (String, Value) {
    let attributes = json!({
        "servicecode": "AWSLambda", "location": "somewhere", "locationType": "AWS Region",
        "usagetype": usage, "operation": "", "regionCode": region
    });
    (sku.to_owned(), json!({ "sku": sku, "productFamily": "Serverless", "attributes": attributes }))
}

/// Returns the terms of a SKU: its tiers as begin, end and price.
fn terms(sku: &str, since: &str, tiers: &[(&str, &str, &str)]) -> (String, Value) {
    let dimension = |(at, (begin, end, price)): (usize, &(&str, &str, &str))| {
        let code = format!("{sku}.JRTCKXETXF.{at}");
        let value = json!({
            "rateCode": code, "description": "AWS Lambda", "beginRange": begin, "endRange": end,
            "unit": "Lambda-GB-Second", "pricePerUnit": { "USD": price }, "appliesTo": []
        });
        (code, value)
    };
    // A later tier may come first.
    let dimensions: serde_json::Map<String, Value> =
        tiers.iter().enumerate().rev().map(dimension).collect();
    let term = json!({
        "offerTermCode": "JRTCKXETXF", "sku": sku, "effectiveDate": since,
        "priceDimensions": dimensions, "termAttributes": {}
    });
    (sku.to_owned(), json!({ format!("{sku}.JRTCKXETXF"): term }))
}

fn offer(products: Vec<(String, Value)>, terms: Vec<(String, Value)>) -> String {
    let products: serde_json::Map<String, Value> = products.into_iter().collect();
    let terms: serde_json::Map<String, Value> = terms.into_iter().collect();
    // The order of the keys is that of AWS's files.
    format!(
        "{{\"formatVersion\": \"v1.0\", \"disclaimer\": \"...\", \"offerCode\": \"AWSLambda\", \
         \"version\": \"20260919002359\", \"publicationDate\": \"2026-09-19T00:23:59Z\", \
         \"products\": {}, \"terms\": {{\"OnDemand\": {}, \"Reserved\": {{\"X\": {{}}}}}}}}",
        Value::Object(products),
        Value::Object(terms)
    )
}

fn lambda_offer() -> String {
    let since = "2026-09-01T00:00:00Z";
    offer(
        vec![
            product("AAA", "AFS1-Lambda-GB-Second", "af-south-1"),
            product("BBB", "AFS1-Request", "af-south-1"),
            product("CCC", "AFS1-Lambda-GB-Second-ARM", "af-south-1"),
            product("DDD", "Lambda-GB-Second", "us-east-1"),
            product("EEE", "AFS1-Lambda-Edge-Request", "af-south-1"),
            product("FFF", "EUC1-Lambda-Edge-Request", "eu-central-1"),
            product("GGG", "Global-Request", ""),
            product("HHH", "AFS1-Lambda-Storage-GB-Second", "af-south-1"),
        ],
        vec![
            terms(
                "AAA",
                since,
                &[
                    ("0", "6000000000", "0.0000221000"),
                    ("6000000000", "15000000000", "0.0000198900"),
                    ("15000000000", "Inf", "0.0000176800"),
                ],
            ),
            terms("BBB", "2026-08-01T00:00:00Z", &[("0", "Inf", "0.0000002700")]),
            terms("CCC", since, &[("0", "Inf", "0.0000176800")]),
            terms("DDD", since, &[("0", "Inf", "0.0000166667")]),
            terms("EEE", since, &[("0", "Inf", "0.0000006000")]),
        ],
    )
}

#[test]
fn an_offer_file_of_aws_gives_contracts_by_region() {
    let import = read(PriceListFormat::AwsOffer, &lambda_offer());
    assert_eq!(
        import.description,
        "AWS price list AWSLambda, version 20260919002359, published 2026-09-19"
    );
    assert_eq!(import.sku_count, 8);
    let unused: Vec<(&str, u64)> = import.unused.iter().map(|(kind, n)| (&**kind, *n)).collect();
    assert_eq!(
        unused,
        [
            ("Global-Request", 1),
            ("Lambda-Edge-Request", 2),
            ("Lambda-Storage-GB-Second: no price on demand", 1)
        ]
    );
    let ids: Vec<String> = import.regions.iter().map(RegionalPrices::contract_id).collect();
    assert_eq!(
        ids,
        ["aws-lambda-arm-af-south-1", "aws-lambda-x86-af-south-1", "aws-lambda-x86-us-east-1"]
    );
    let cape_town = find(&import, "aws-lambda-x86", "af-south-1");
    assert_eq!(cape_town.effective_from.as_deref(), Some("2026-09-01"));
    let model = contract(cape_town);
    assert_eq!(model.name(), "AWS Lambda x86, af-south-1");
    assert_eq!(model.contract().and_then(|it| it.region()), Some("af-south-1"));
    let end = |text: &str| Some(text.to_owned());
    assert_eq!(
        tiers(&model, "duration"),
        [
            (end("6000000000"), "0.0000221".to_owned()),
            (end("15000000000"), "0.00001989".to_owned()),
            (None, "0.00001768".to_owned())
        ]
    );
    assert_eq!(tiers(&model, "requests"), plain("0.27"));
    assert_eq!(tiers(&model, "provisioned requests"), plain("0.27"));
    let note = model.uncertainty_note().expect("what is not in the list");
    assert!(note.starts_with("Not in the list, and so as in aws-lambda-x86: "), "{note}");
    assert!(note.contains("tmp storage"), "{note}");
    // 3 million times 120 ms at 1536 MB: 140,000 x 0.0000221 = 3.094, and 2 x 0.27.
    let mut usage = Usage::new(false);
    usage.phases.run = Some(Nanos(120_000_000));
    usage.set(Meter::MemoryAllocated, 1536 << 20);
    let terms = Terms::for_model(&model);
    let requests = Exact::from(3_000_000);
    let group = UsageGroup { requests, usage, terms: terms.clone(), instance_spans: None };
    let subtotals = model.charge_subtotals(&[group], &terms).unwrap();
    let bill = model.settle(&subtotals, &terms, model.rounding());
    assert_eq!(bill.total.to_plain_string(), "3.63");
}

#[test]
fn products_of_the_aws_api_may_be_text_and_have_no_region_code() {
    let (_, product) = product("AAA", "EU-Lambda-GB-Second", "");
    let mut product = product;
    product["attributes"].as_object_mut().expect("a table").remove("regionCode");
    let (_, on_demand) = terms("AAA", "2019-04-01T00:00:00Z", &[("0", "Inf", "0.0000166667")]);
    let listed = json!({
        "product": product, "serviceCode": "AWSLambda", "terms": { "OnDemand": on_demand },
        "version": "20190424183113", "publicationDate": "2019-04-24T18:31:13Z"
    });
    let list = json!([listed]).to_string();
    let texts = json!({ "FormatVersion": "aws_v1", "PriceList": [listed.to_string()] }).to_string();
    for text in [list, texts] {
        let import = read(PriceListFormat::AwsOffer, &text);
        let dublin = contract(find(&import, "aws-lambda-x86", "eu-west-1"));
        assert_eq!(tiers(&dublin, "duration"), plain("0.0000166667"));
        assert_eq!(dublin.effective_from(), "2019-04-01");
    }
}

#[test]
fn fargate_is_read_from_the_offer_of_ecs() {
    let since = "2026-09-01T00:00:00Z";
    let text = offer(
        vec![
            product("A", "EUW2-Fargate-vCPU-Hours:perCPU", "eu-west-2"),
            product("B", "EUW2-Fargate-GB-Hours", "eu-west-2"),
            product("C", "EUW2-Fargate-ARM-vCPU-Hours:perCPU", "eu-west-2"),
            product("D", "EUW2-Fargate-ARM-GB-Hours", "eu-west-2"),
            product("E", "EUW2-Fargate-EphemeralStorage-GB-Hours", "eu-west-2"),
        ],
        vec![
            terms("A", since, &[("0", "Inf", "0.0465600000")]),
            terms("B", since, &[("0", "Inf", "0.0051100000")]),
            terms("C", since, &[("0", "Inf", "0.0372500000")]),
            terms("D", since, &[("0", "Inf", "0.0040900000")]),
            terms("E", since, &[("0", "Inf", "0.0001290000")]),
        ],
    );
    let import = read(PriceListFormat::AwsOffer, &text);
    let x86 = contract(find(&import, "aws-fargate-x86", "eu-west-2"));
    assert_eq!(tiers(&x86, "vCPU"), plain("0.04656"));
    assert_eq!(tiers(&x86, "memory"), plain("0.00511"));
    let arm = contract(find(&import, "aws-fargate-arm", "eu-west-2"));
    assert_eq!(tiers(&arm, "vCPU"), plain("0.03725"));
    assert_eq!(tiers(&arm, "storage"), plain("0.000129"));
    assert_eq!(import.unused.len(), 0);
}

#[test]
fn two_prices_of_one_position_are_told_and_neither_is_used() {
    let since = "2026-09-01T00:00:00Z";
    let text = offer(
        vec![
            product("A", "EUC1-Request", "eu-central-1"),
            product("B", "EUC1-Request", "eu-central-1"),
            product("C", "EUC1-Lambda-GB-Second", "eu-central-1"),
        ],
        vec![
            terms("A", since, &[("0", "Inf", "0.0000002000")]),
            terms("B", since, &[("0", "Inf", "0.0000002500")]),
            // A hole between tiers.
            terms("C", since, &[("0", "5", "0.1"), ("6", "Inf", "0.2")]),
        ],
    );
    let import = read(PriceListFormat::AwsOffer, &text);
    assert_eq!(import.regions.len(), 0);
    let kinds: Vec<&str> = import.unused.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "Lambda-GB-Second: no clear price in USD",
            "provisioned requests of eu-central-1: two prices that differ",
            "requests of eu-central-1: two prices that differ"
        ]
    );
}

fn item(product: &str, meter: &str, unit: &str, region: &str, from: &str, price: &str) -> String {
    format!(
        "{{\"currencyCode\": \"USD\", \"tierMinimumUnits\": {from}, \"retailPrice\": {price}, \
         \"unitPrice\": {price}, \"armRegionName\": \"{region}\", \"location\": \"EU West\", \
         \"effectiveStartDate\": \"2024-05-01T00:00:00Z\", \"meterId\": \"m\", \"meterName\": \
         \"{meter}\", \"productName\": \"{product}\", \"skuName\": \"Standard\", \"serviceName\": \
         \"{product}\", \"unitOfMeasure\": \"{unit}\", \"type\": \"Consumption\"}}"
    )
}

fn page(items: &[String]) -> String {
    format!(
        "{{\"BillingCurrency\": \"USD\", \"CustomerEntityId\": \"Default\", \"Items\": [{}], \
         \"NextPageLink\": null, \"Count\": {}}}",
        items.join(", "),
        items.len()
    )
}

#[test]
fn retail_prices_of_azure_give_contracts_by_region() {
    let apps = "Azure Container Apps";
    let functions = "Functions";
    let first = page(&[
        item(apps, "Standard vCPU Active Usage", "1 Second", "westeurope", "0.0", "0.0"),
        item(apps, "Standard vCPU Active Usage", "1 Second", "westeurope", "180000.0", "3.4E-05"),
        item(apps, "Standard vCPU Idle Usage", "1 Second", "westeurope", "0.0", "4e-06"),
        item(apps, "Standard Memory Active Usage", "1 GiB Second", "westeurope", "0.0", "0.000004"),
        item(apps, "Standard Memory Idle Usage", "1 GiB Second", "westeurope", "0.0", "4E-06"),
        item(apps, "Standard Requests", "1M", "westeurope", "0.0", "0.56"),
        item(apps, "Dedicated Plan Management", "1 Hour", "westeurope", "0.0", "0.1"),
    ]);
    let second = page(&[
        item(functions, "Standard Execution Time", "1 GB Second", "japaneast", "0.0", "0.0"),
        item(
            functions,
            "Standard Execution Time",
            "1 GB Second",
            "japaneast",
            "400000.0",
            "0.000016",
        ),
        item(functions, "Standard Total Executions", "10", "japaneast", "0.0", "0.0"),
        item(functions, "Standard Total Executions", "10", "japaneast", "100000.0", "0.000002"),
        item("Flex Consumption", "On Demand Total Executions", "10", "japaneast", "0.0", "4E-06"),
        item(functions, "Standard Execution Time", "1 Hour", "japanwest", "0.0", "0.000016"),
        item("Storage", "Standard Requests", "1M", "japanwest", "0.0", "0.1"),
    ]);
    let import = read(PriceListFormat::AzureRetail, &format!("{first}\n{second}\n"));
    let europe = contract(find(&import, "azure-container-apps", "westeurope"));
    assert_eq!(tiers(&europe, "active vCPU"), plain("0.000034"));
    assert_eq!(tiers(&europe, "idle vCPU"), plain("0.000004"));
    assert_eq!(tiers(&europe, "memory"), plain("0.000004"));
    assert_eq!(tiers(&europe, "requests"), plain("0.56"));
    assert_eq!(europe.effective_from(), "2024-05-01");
    let japan = contract(find(&import, "azure-consumption", "japaneast"));
    assert_eq!(tiers(&japan, "execution time"), plain("0.000016"));
    // 0.000002 for ten are 0.20 for a million; the free million is the model's allowance.
    assert_eq!(tiers(&japan, "executions"), plain("0.2"));
    let flex = contract(find(&import, "azure-flex", "japaneast"));
    assert_eq!(tiers(&flex, "executions"), plain("0.4"));
    assert_eq!(import.sku_count, 14);
    let unused: Vec<&str> = import.unused.keys().map(String::as_str).collect();
    assert_eq!(
        unused,
        ["Dedicated Plan Management", "Standard Execution Time: by `1 Hour`", "Standard Requests"]
    );
    // Pages in a list are the same.
    let list = read(PriceListFormat::AzureRetail, &format!("[{first}, {second}]"));
    assert_eq!(list, import);
}

#[test]
fn retail_prices_in_another_currency_and_of_another_kind_are_not_used() {
    let item = item("Functions", "Standard Execution Time", "1 GB Second", "japaneast", "0", "0.1");
    let euro = item.replace("\"USD\"", "\"EUR\"");
    let reserved = item.replace("\"Consumption\"", "\"Reservation\"");
    let elsewhere = item.replace("japaneast", "Japan East");
    let negative = item.replace("0.1", "-0.1");
    let free_only = item.replace("0.1", "0.0").replace("japaneast", "japanwest");
    let import = read(
        PriceListFormat::AzureRetail,
        &page(&[euro, reserved, elsewhere, negative, free_only]),
    );
    assert_eq!(import.regions.len(), 0);
    let kinds: Vec<&str> = import.unused.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "Standard Execution Time: Reservation",
            "Standard Execution Time: in EUR",
            "Standard Execution Time: no price can be -0.1",
            "Standard Execution Time: no region",
            "Standard Execution Time: steps of prices that are not clear"
        ]
    );
}

fn sku(description: &str, unit: &str, regions: &[&str], rates: &[(u64, u64)]) -> Value {
    let rate = |(from, nanos): &(u64, u64)| {
        json!({
            "startUsageAmount": from,
            "unitPrice": { "currencyCode": "USD", "units": "0", "nanos": nanos }
        })
    };
    json!({
        "name": "services/152E-C115-5142/skus/X", "skuId": "X", "description": description,
        "category": {
            "serviceDisplayName": "Cloud Run", "resourceFamily": "ApplicationServices",
            "resourceGroup": "Compute", "usageType": "OnDemand"
        },
        "serviceRegions": regions,
        "pricingInfo": [{
            "summary": "", "currencyConversionRate": 1, "effectiveTime": "2026-10-05T09:00:00.000Z",
            "pricingExpression": {
                "usageUnit": unit, "displayQuantity": 1_000_000, "baseUnitConversionFactor": 1,
                "tieredRates": rates.iter().map(rate).collect::<Vec<_>>()
            }
        }],
        "serviceProviderName": "Google"
    })
}

#[test]
fn skus_of_google_give_contracts_by_region() {
    let skus = json!({ "skus": [
        sku("Requests", "count", &["global"], &[(0, 0), (2_000_000, 400)]),
        sku("Services CPU (Request-based billing)", "s", &["europe-west1", "us-central1"],
            &[(0, 0), (180_000, 24_000)]),
        sku("Services CPU Tier 2  (Request-based billing)", "s", &["europe-west3"], &[(0, 33_600)]),
        sku("Services Memory Tier 2 (Request-based billing)", "GiBy.s", &["europe-west3"],
            &[(0, 3_500)]),
        sku("Services Min Instance CPU Tier 2 (Request-based billing)", "s", &["europe-west3"],
            &[(0, 3_500)]),
        sku("Services Min Instance Memory Tier 2 (Request-based billing)", "GiBy.s",
            &["europe-west3"], &[(0, 3_500)]),
        sku("Services CPU (Instance-based billing) in europe-west3", "s", &["europe-west3"],
            &[(0, 21_600)]),
        sku("Services Memory (Instance-based billing) in europe-west3", "GiBy.s",
            &["europe-west3"], &[(0, 2_400)]),
        sku("Network Internet Egress from Frankfurt to Frankfurt", "GiBy", &["europe-west3"],
            &[(0, 1)]),
        sku("Services CPU (Request-based billing)", "h", &["europe-west6"], &[(0, 24_000)]),
    ], "nextPageToken": "" });
    let import = read(PriceListFormat::GoogleSkus, &skus.to_string());
    let frankfurt = find(&import, "google-cloud-run", "europe-west3");
    assert_eq!(frankfurt.effective_from.as_deref(), Some("2026-10-05"));
    assert_eq!(frankfurt.price_count(), 4);
    let frankfurt = contract(frankfurt);
    assert_eq!(frankfurt.uncertainty_note(), contract_base().uncertainty_note());
    assert_eq!(tiers(&frankfurt, "memory"), plain("0.0000035"));
    assert_eq!(tiers(&frankfurt, "requests"), plain("0.4"));
    let weight = |name: &str| {
        let charge = frankfurt.charges().find(|charge| charge.name() == name).expect("a charge");
        charge.pool_weight().to_plain_string()
    };
    assert_eq!(weight("cpu time"), "0.0000336");
    assert_eq!(weight("idle cpu"), "0.0000035");
    // The whole bill is that of the shipped tariff of tier 2.
    let tier2 = crate::find_builtin_model("google-cloud-run-tier2").unwrap();
    let mut usage = Usage::new(false);
    usage.phases.run = Some(Nanos(3_600_000_000));
    usage.set(Meter::MemoryAllocated, 1 << 29);
    usage.set(Meter::VcpuAllocated, 1_000);
    assert_eq!(frankfurt.bill(&usage).unwrap().total, tier2.bill(&usage).unwrap().total);
    let instance = contract(find(&import, "google-cloud-run-instance", "europe-west3"));
    assert_eq!(tiers(&instance, "cpu"), plain("0.0000216"));
    let belgium = contract(find(&import, "google-cloud-run", "europe-west1"));
    let note = belgium.uncertainty_note().expect("memory is not in the list");
    assert_eq!(note, "Not in the list, and so as in google-cloud-run: memory.");
    let unused: Vec<&str> = import.unused.keys().map(String::as_str).collect();
    assert_eq!(
        unused,
        [
            "Network Internet Egress from Frankfurt to Frankfurt",
            "Services CPU (Request-based billing): by `h`"
        ]
    );
}

fn contract_base() -> &'static PriceModel {
    crate::find_builtin_model("google-cloud-run").unwrap()
}

fn complaint(format: PriceListFormat, text: &[u8]) -> String {
    read_price_list(format, text, TODAY).unwrap_err().to_string()
}

#[test]
fn what_is_no_price_list_is_refused() {
    use PriceListFormat::{AwsOffer, AzureRetail, GoogleSkus};
    for (format, text, message) in [
        (AwsOffer, "", "EOF while parsing"),
        (AwsOffer, "{}", "it has neither `products` with `terms` nor a list of products"),
        (AwsOffer, "{\"terms\": {}, \"products\": {}}", "its `terms` come before its `products`"),
        (AwsOffer, "{\"products\": 1}", "invalid type: integer `1`, expected products by SKU"),
        (AwsOffer, "{\"products\": {}} x", "trailing characters"),
        (AzureRetail, "{\"skus\": []}", "it has no list `Items`"),
        (AzureRetail, "{\"Items\": [", "EOF while parsing"),
        (GoogleSkus, "\"skus\"", "expected an object with a list `skus`"),
        (GoogleSkus, "{\"skus\": [{\"serviceRegions\": 1}]}", "expected a few entries"),
    ] {
        let found = complaint(format, text.as_bytes());
        assert!(found.contains(message), "{found}");
        assert!(found.starts_with("this is no such price list: "), "{found}");
    }
}

#[test]
fn hostile_price_lists_take_no_memory() {
    use PriceListFormat::{AwsOffer, GoogleSkus};
    let long = format!("{{\"products\": {{\"{}", "x".repeat(2 << 20));
    assert!(complaint(AwsOffer, long.as_bytes()).contains("more than a megabyte"));
    let regions = vec!["\"a\""; 300].join(",");
    let many = format!("{{\"skus\": [{{\"serviceRegions\": [{regions}]}}]}}");
    assert!(complaint(GoogleSkus, many.as_bytes()).contains("more than 256 entries"));
    let deep = format!("{{\"products\": {}", "[".repeat(100_000));
    assert!(complaint(AwsOffer, deep.as_bytes()).contains("nested more than"));
    let deep = format!("{{\"x\": {}", "[\"a]\\\"\",".repeat(101));
    assert!(complaint(AwsOffer, deep.as_bytes()).contains("nested more than 100 levels"));
    // Kinds beyond a few hundred are counted together, and are shown without control characters.
    let skus: Vec<Value> =
        (0..700).map(|at| json!({ "description": format!("\u{1b}[{at}") })).collect();
    let import = read(GoogleSkus, &json!({ "skus": skus }).to_string());
    assert_eq!(import.unused.len(), 501);
    assert_eq!(import.unused["(other kinds)"], 200);
    assert!(import.unused.keys().all(|kind| !kind.contains('\u{1b}')));
    let products = (0..20_001).map(|at| product(&at.to_string(), "EUC1-Request", "eu-central-1"));
    let error =
        read_price_list(AwsOffer, offer(products.collect(), vec![]).as_bytes(), TODAY).unwrap_err();
    assert!(matches!(error, PriceListError::TooManyPrices), "{error}");
}

#[test]
fn a_regional_price_wins_over_a_global_one_and_two_global_ones_are_told() {
    let cpu = "Services CPU (Request-based billing)";
    let of = |requests: Vec<Value>| {
        let mut skus = vec![sku(cpu, "s", &["europe-west1", "us-central1"], &[(0, 24_000)])];
        skus.extend(requests);
        read(PriceListFormat::GoogleSkus, &json!({ "skus": skus }).to_string())
    };
    let global = |nanos: u64| sku("Requests", "count", &["global"], &[(0, nanos)]);
    let import = of(vec![sku("Requests", "count", &["europe-west1"], &[(0, 500)]), global(400)]);
    let price =
        |region: &str| tiers(&contract(find(&import, "google-cloud-run", region)), "requests");
    assert_eq!(price("europe-west1"), plain("0.5"));
    assert_eq!(price("us-central1"), plain("0.4"));
    let import = of(vec![global(400), global(500)]);
    assert_eq!(import.unused["requests, global: two prices that differ"], 1);
    assert_eq!(find(&import, "google-cloud-run", "us-central1").price_count(), 1);
}

#[test]
fn a_list_with_a_page_that_follows_is_a_part() {
    use PriceListFormat::{AwsOffer, AzureRetail, GoogleSkus};
    let (more, last) = ("{\"Items\": [], \"NextPageLink\": \"https://x\"}", page(&[]));
    assert!(read(AzureRetail, more).is_partial);
    assert!(!read(AzureRetail, &last).is_partial);
    assert!(!read(AzureRetail, &format!("{more}{last}")).is_partial);
    assert!(read(GoogleSkus, "{\"skus\": [], \"nextPageToken\": \"x\"}").is_partial);
    assert!(!read(GoogleSkus, "{\"skus\": [], \"nextPageToken\": \"\"}").is_partial);
    assert!(
        read(AwsOffer, "{\"PriceList\": [{\"product\": {}}], \"NextToken\": \"x\"}").is_partial
    );
}

#[test]
fn a_term_that_begins_later_or_cannot_be_read_stops_nothing() {
    let (now, later) = ("2026-09-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let price = |sku: &str, since: &str, price: &str| terms(sku, since, &[("0", "Inf", price)]);
    let (_, mut both) = price("A", now, "0.0000002");
    let (_, future) = price("A", later, "0.0000009");
    both["later"] = future["A.JRTCKXETXF"].clone();
    let text = offer(
        vec![
            product("A", "EUC1-Request", "eu-central-1"),
            product("B", "AFS1-Request", "af-south-1"),
            product("C", "EUN1-Request", "eu-north-1"),
            product("D", "EUW1-Request", "eu-west-1"),
            product("E", "EUW2-Request", "eu-west-2"),
        ],
        vec![
            ("A".to_owned(), both),
            price("B", later, "0.0000003"),
            ("C".to_owned(), json!({ "C.x": { "effectiveDate": 5, "priceDimensions": [1] } })),
            ("D".to_owned(), json!("none")),
            price("E", "2026-13-45T00:00:00Z", "0.0000004"),
        ],
    );
    let import = read(PriceListFormat::AwsOffer, &text);
    let frankfurt = find(&import, "aws-lambda-x86", "eu-central-1");
    assert_eq!(frankfurt.effective_from.as_deref(), Some("2026-09-01"));
    assert_eq!(tiers(&contract(frankfurt), "requests"), plain("0.2"));
    let london = find(&import, "aws-lambda-x86", "eu-west-2");
    assert_eq!(london.effective_from, None, "a day that there is not");
    assert_eq!(tiers(&contract(london), "requests"), plain("0.4"));
    assert_eq!(import.regions.len(), 2);
    assert_eq!(import.unused["Request: not in force yet"], 1);
    assert_eq!(import.unused["Request: no clear price in USD"], 2);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_list() {
    let list = read(PriceListFormat::GoogleSkus, "\u{feff}{\"skus\": []}");
    assert_eq!(list.sku_count, 0);
}

#[test]
fn contracts_of_two_plans_have_names_of_their_own() {
    let of =
        |product: &str, meter: &str| item(product, meter, "1 GB Second", "japaneast", "0", "1");
    let import = read(
        PriceListFormat::AzureRetail,
        &page(&[
            of("Functions", "Standard Execution Time"),
            of("Flex Consumption", "On Demand Execution Time"),
        ]),
    );
    let name = |model: &str| contract(find(&import, model, "japaneast")).name().to_owned();
    assert_eq!(name("azure-consumption"), "Azure Functions, Consumption plan, japaneast");
    assert_eq!(name("azure-flex"), "Azure Functions, Flex Consumption plan, japaneast");
}
