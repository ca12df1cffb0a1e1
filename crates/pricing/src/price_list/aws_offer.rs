//! AWS's price list: the offer file of a service
//! (`https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AWSLambda/current/index.json`), and
//! the products that `aws pricing get-products` prints.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::stream::{MaybeObject, MaybeText, SmallMap, parse_decimal};
use super::{
    MAX_PRICES, NOT_YET, PriceCollector, PriceListError, PriceListImport, PricePlace, PriceTier,
    find_in_force, is_region_code, price_of,
};
use crate::number::Exact;

const X86: &str = "aws-lambda-x86";
const ARM: &str = "aws-lambda-arm";
const FARGATE: &str = "aws-fargate-x86";
const FARGATE_ARM: &str = "aws-fargate-arm";

/// Usage types without the prefix of their region, the places of their prices, and the number of
/// units that the models' prices are for.
const USAGE_TYPES: &[(&str, &[PricePlace], u64)] = &[
    ("Request", &[price_of(X86, "requests"), price_of(X86, "provisioned requests")], 1_000_000),
    ("Request-ARM", &[price_of(ARM, "requests"), price_of(ARM, "provisioned requests")], 1_000_000),
    ("Lambda-GB-Second", &[price_of(X86, "duration")], 1),
    ("Lambda-GB-Second-ARM", &[price_of(ARM, "duration")], 1),
    ("Lambda-Provisioned-Concurrency", &[price_of(X86, "provisioned capacity")], 1),
    ("Lambda-Provisioned-Concurrency-ARM", &[price_of(ARM, "provisioned capacity")], 1),
    ("Lambda-Provisioned-GB-Second", &[price_of(X86, "provisioned duration")], 1),
    ("Lambda-Provisioned-GB-Second-ARM", &[price_of(ARM, "provisioned duration")], 1),
    ("Lambda-Storage-GB-Second", &[price_of(X86, "tmp storage")], 1),
    ("Lambda-Storage-GB-Second-ARM", &[price_of(ARM, "tmp storage")], 1),
    ("Lambda-SnapStart-Cached-GB-S", &[price_of(X86, "snapstart cache")], 1),
    ("Lambda-SnapStart-Cached-GB-S-ARM", &[price_of(ARM, "snapstart cache")], 1),
    ("Lambda-SnapStart-Restored-GB", &[price_of(X86, "snapstart restores")], 1),
    ("Lambda-SnapStart-Restored-GB-ARM", &[price_of(ARM, "snapstart restores")], 1),
    ("Fargate-vCPU-Hours:perCPU", &[price_of(FARGATE, "vCPU")], 1),
    ("Fargate-GB-Hours", &[price_of(FARGATE, "memory")], 1),
    ("Fargate-ARM-vCPU-Hours:perCPU", &[price_of(FARGATE_ARM, "vCPU")], 1),
    ("Fargate-ARM-GB-Hours", &[price_of(FARGATE_ARM, "memory")], 1),
    (
        "Fargate-EphemeralStorage-GB-Hours",
        &[price_of(FARGATE, "storage"), price_of(FARGATE_ARM, "storage")],
        1,
    ),
];

/// Prefixes of usage types, for lists from before products had a region's code.
const PREFIXES: &[(&str, &str)] = &[
    ("USE1", "us-east-1"),
    ("USE2", "us-east-2"),
    ("USW1", "us-west-1"),
    ("USW2", "us-west-2"),
    ("CAN1", "ca-central-1"),
    ("SAE1", "sa-east-1"),
    ("EU", "eu-west-1"),
    ("EUW1", "eu-west-1"),
    ("EUW2", "eu-west-2"),
    ("EUW3", "eu-west-3"),
    ("EUC1", "eu-central-1"),
    ("EUN1", "eu-north-1"),
    ("EUS1", "eu-south-1"),
    ("APN1", "ap-northeast-1"),
    ("APN2", "ap-northeast-2"),
    ("APN3", "ap-northeast-3"),
    ("APS1", "ap-southeast-1"),
    ("APS2", "ap-southeast-2"),
    ("APS3", "ap-south-1"),
    ("APE1", "ap-east-1"),
    ("AFS1", "af-south-1"),
    ("MES1", "me-south-1"),
];

#[derive(Debug, Deserialize)]
struct Product {
    #[serde(default)]
    sku: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    usagetype: Option<String>,
    #[serde(rename = "regionCode")]
    region_code: Option<String>,
}

/// Terms of a SKU. One that is not as it should be must not stop the import of the others.
type Terms = MaybeObject<SmallMap<MaybeObject<Term>>>;

#[derive(Debug, Deserialize)]
struct Term {
    #[serde(rename = "effectiveDate", default)]
    effective_date: MaybeText,
    #[serde(rename = "priceDimensions", default)]
    dimensions: MaybeObject<SmallMap<MaybeObject<Dimension>>>,
}

#[derive(Debug, Deserialize)]
struct Dimension {
    #[serde(rename = "beginRange", default)]
    begin: MaybeText,
    #[serde(rename = "endRange", default)]
    end: MaybeText,
    #[serde(rename = "pricePerUnit", default)]
    price: MaybeObject<PricePerUnit>,
}

#[derive(Debug, Deserialize)]
struct PricePerUnit {
    #[serde(rename = "USD", default)]
    usd: MaybeText,
}

/// Product of `get-products`, with its terms.
#[derive(Debug, Deserialize)]
struct ListedProduct {
    product: Product,
    #[serde(default)]
    terms: ListedTerms,
    #[serde(rename = "serviceCode", default)]
    service: MaybeText,
    #[serde(default)]
    version: MaybeText,
    #[serde(rename = "publicationDate", default)]
    published: MaybeText,
}

#[derive(Debug, Default, Deserialize)]
struct ListedTerms {
    #[serde(rename = "OnDemand", default)]
    on_demand: Terms,
}

/// SKU whose price a model has.
#[derive(Debug)]
struct WantedSku {
    usage: &'static (&'static str, &'static [PricePlace], u64),
    region: String,
}

#[derive(Debug, Default)]
struct OfferReader {
    today: String,
    collector: PriceCollector,
    wanted: HashMap<String, WantedSku>,
    has_products: bool,
    offer: String,
    version: String,
    published: String,
    too_many: bool,
}

/// Reads an offer file, or products.
pub(super) fn read_offer(
    reader: impl Read,
    today: &str,
) -> Result<PriceListImport, PriceListError> {
    let mut offer = OfferReader { today: today.to_owned(), ..OfferReader::default() };
    let mut source = serde_json::Deserializer::from_reader(reader);
    let result = OfferSeed(&mut offer).deserialize(&mut source).and_then(|()| source.end());
    if offer.too_many {
        return Err(PriceListError::TooManyPrices);
    }
    result?;
    if !offer.has_products {
        let text = "it has neither `products` with `terms` nor a list of products";
        return Err(serde_json::Error::custom(text).into());
    }
    // What is left has no price on demand.
    for (_, wanted) in std::mem::take(&mut offer.wanted) {
        offer.collector.count_unused(&format!("{}: no price on demand", wanted.usage.0));
    }
    let mut description = vec![format!("AWS price list {}", offer.offer).trim_end().to_owned()];
    if !offer.version.is_empty() {
        description.push(format!("version {}", offer.version));
    }
    if let Some(day) = super::day_of(&offer.published) {
        description.push(format!("published {day}"));
    }
    Ok(offer.collector.into_import(description.join(", ")))
}

impl OfferReader {
    /// Returns the SKU if a model has a price for it; counts it otherwise.
    fn find_wanted(&mut self, product: &Product) -> Option<WantedSku> {
        self.collector.count_sku();
        let usage = product.attributes.usagetype.as_deref().unwrap_or("(no usage type)");
        let (prefix, rest) = match usage.split_once('-') {
            Some((prefix, rest)) if is_region_prefix(prefix) => (Some(prefix), rest),
            _ => (None, usage),
        };
        let Some(found) = USAGE_TYPES.iter().find(|(name, ..)| *name == rest) else {
            self.collector.count_unused(rest);
            return None;
        };
        let by_prefix = || {
            let prefix = prefix.unwrap_or("USE1");
            PREFIXES
                .iter()
                .find(|(name, _)| *name == prefix)
                .map(|(_, region)| (*region).to_owned())
        };
        let code = product.attributes.region_code.clone().filter(|code| is_region_code(code));
        let Some(region) = code.or_else(by_prefix) else {
            self.collector.count_unused(&format!("{rest}: no region"));
            return None;
        };
        Some(WantedSku { usage: found, region })
    }

    /// Adds the prices of the term that is in force.
    fn add_terms(&mut self, sku: &WantedSku, terms: Terms) -> Result<(), PriceListError> {
        let terms = terms.0.map(|terms| terms.0).unwrap_or_default();
        let terms: Vec<Term> = terms.into_iter().filter_map(|term| term.0).collect();
        let days = terms.iter().map(|term| term.effective_date.as_str());
        let in_force = find_in_force(days, &self.today).map(|at| &terms[at]);
        let read = in_force.and_then(|term| {
            let dimensions = term.dimensions.0.as_ref()?;
            Some((read_tiers(&dimensions.0, sku.usage.2)?, term.effective_date.as_str()))
        });
        let Some((tiers, since)) = read else {
            let is_later = in_force.is_none() && !terms.is_empty();
            let why = if is_later { NOT_YET } else { "no clear price in USD" };
            self.collector.count_unused(&format!("{}: {why}", sku.usage.0));
            return Ok(());
        };
        for place in sku.usage.1 {
            self.collector.add_price(&sku.region, *place, tiers.clone(), Some(since))?;
        }
        Ok(())
    }

    fn add_listed_product(&mut self, listed: ListedProduct) -> Result<(), PriceListError> {
        self.has_products = true;
        if self.offer.is_empty() {
            self.offer = listed.service.0.unwrap_or_default();
            self.version = listed.version.0.unwrap_or_default();
            self.published = listed.published.0.unwrap_or_default();
        }
        let Some(sku) = self.find_wanted(&listed.product) else { return Ok(()) };
        if listed.terms.on_demand.0.is_none() {
            self.collector.count_unused(&format!("{}: no price on demand", sku.usage.0));
            return Ok(());
        }
        self.add_terms(&sku, listed.terms.on_demand)
    }

    /// Passes a failure on to the parser, which can only stop.
    fn stop_on<E: Error>(&mut self, result: Result<(), PriceListError>) -> Result<(), E> {
        result.map_err(|error| {
            self.too_many |= matches!(error, PriceListError::TooManyPrices);
            E::custom(error)
        })
    }
}

fn is_region_prefix(text: &str) -> bool {
    (2..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Returns the tiers of a term, with prices of `per` units.
fn read_tiers(dimensions: &[MaybeObject<Dimension>], per: u64) -> Option<Vec<PriceTier>> {
    let mut tiers = Vec::with_capacity(dimensions.len());
    for dimension in dimensions {
        let dimension = dimension.0.as_ref()?;
        let price = parse_decimal(dimension.price.0.as_ref()?.usd.as_str())?;
        let begin = parse_decimal(dimension.begin.as_str()).unwrap_or_default();
        let up_to = match dimension.end.as_str() {
            "Inf" | "" => None,
            end => Some(parse_decimal(end)?),
        };
        tiers.push((begin, PriceTier { up_to, price: &price * &Exact::from(per) }));
    }
    tiers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut next = Exact::default();
    for (index, (begin, tier)) in tiers.iter().enumerate() {
        let last = index + 1 == tiers.len();
        if *begin != next || last != tier.up_to.is_none() {
            return None;
        }
        next = tier.up_to.clone().unwrap_or_default();
    }
    // A price of 0 is an allowance that is listed apart.
    let paid = tiers.iter().all(|(_, tier)| !tier.price.is_zero());
    (paid && !tiers.is_empty()).then(|| tiers.into_iter().map(|(_, tier)| tier).collect())
}

struct OfferSeed<'a>(&'a mut OfferReader);

impl<'de> DeserializeSeed<'de> for OfferSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OfferSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an offer file, or a list of products")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(offer) = self;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "offerCode" => offer.offer = map.next_value()?,
                "version" => offer.version = map.next_value()?,
                "publicationDate" => offer.published = map.next_value()?,
                "products" => {
                    offer.has_products = true;
                    map.next_value_seed(ProductsSeed(offer))?;
                }
                "terms" if !offer.has_products => {
                    return Err(A::Error::custom("its `terms` come before its `products`"));
                }
                "terms" => map.next_value_seed(TermsSeed(offer))?,
                "NextToken" => {
                    let mark: MaybeText = map.next_value()?;
                    offer.collector.is_partial = !mark.as_str().is_empty();
                }
                "PriceList" => map.next_value_seed(ListedSeed(offer))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        ListedSeed(self.0).visit_seq(list)
    }
}

/// Reads the map of products by SKU.
struct ProductsSeed<'a>(&'a mut OfferReader);

impl<'de> DeserializeSeed<'de> for ProductsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ProductsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("products by SKU")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((sku, product)) = map.next_entry::<String, Product>()? {
            debug_assert!(product.sku.is_empty() || product.sku == sku);
            if let Some(wanted) = self.0.find_wanted(&product) {
                if self.0.wanted.len() >= MAX_PRICES {
                    return self.0.stop_on(Err(PriceListError::TooManyPrices));
                }
                self.0.wanted.insert(sku, wanted);
            }
        }
        Ok(())
    }
}

/// Reads the terms: those on demand by SKU, and no others.
struct TermsSeed<'a>(&'a mut OfferReader);

impl<'de> DeserializeSeed<'de> for TermsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TermsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("terms by kind")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(kind) = map.next_key::<String>()? {
            if kind == "OnDemand" {
                map.next_value_seed(OnDemandSeed(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct OnDemandSeed<'a>(&'a mut OfferReader);

impl<'de> DeserializeSeed<'de> for OnDemandSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OnDemandSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("terms by SKU")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(sku) = map.next_key::<String>()? {
            let Some(wanted) = self.0.wanted.remove(&sku) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let terms: Terms = map.next_value()?;
            let added = self.0.add_terms(&wanted, terms);
            self.0.stop_on(added)?;
        }
        Ok(())
    }
}

/// Reads a list of products with their terms, each of which may be a string of JSON.
struct ListedSeed<'a>(&'a mut OfferReader);

impl<'de> DeserializeSeed<'de> for ListedSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListedSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of products")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(product) = list.next_element::<TextOrProduct>()? {
            let listed = match product {
                TextOrProduct::Product(listed) => *listed,
                TextOrProduct::Text(text) => {
                    serde_json::from_str(&text).map_err(A::Error::custom)?
                }
            };
            let added = self.0.add_listed_product(listed);
            self.0.stop_on(added)?;
        }
        Ok(())
    }
}

enum TextOrProduct {
    Text(String),
    Product(Box<ListedProduct>),
}

impl<'de> Deserialize<'de> for TextOrProduct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherVisitor;
        impl<'de> Visitor<'de> for EitherVisitor {
            type Value = TextOrProduct;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a product")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOrProduct, E> {
                Ok(TextOrProduct::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOrProduct, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                ListedProduct::deserialize(map).map(|it| TextOrProduct::Product(Box::new(it)))
            }
        }
        deserializer.deserialize_any(EitherVisitor)
    }
}
