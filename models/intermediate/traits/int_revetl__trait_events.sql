{{ config(
    materialized='patched',
    meta={
        'key': ['source', 'message_id', 'timestamp'], 'stale': 'int_revetl__changed_messages', 'made_by': revetl.trait_reads_hash()
    },
    tags=['trait_increment'],
    **revetl.storage('timestamp', keys=['node_id'])
) }}

{% set reads = revetl.trait_reads() %}
{% set is_patch = revetl.is_patch(revetl.trait_reads_hash()) %}
{% set sources = reads.sources or {'track': []} %}
{% set messages = {
    'track': ref('revetl', 'stg_revetl__tracks'),
    'page': ref('revetl', 'stg_revetl__pages'),
    'screen': ref('revetl', 'stg_revetl__screens'),
} %}

with sightings as (

    select * from {{ ref('revetl', 'int_revetl__identity_sightings') }}
    where {{ revetl.is_true('is_leading') }}

),

{% if is_patch %}
changed as (

    select
        source,
        message_id,
        timestamp
    from {{ ref('revetl', 'int_revetl__changed_messages') }}

),

first_pairs as (

    select
        sightings.source,
        sightings.message_id,
        sightings.left_node as node_id,
        sightings.timestamp
    from sightings
    inner join changed
        on
            sightings.source = changed.source
            and sightings.message_id = changed.message_id
            and sightings.timestamp = changed.timestamp

),
{% else %}
first_pairs as (

    select
        source,
        message_id,
        left_node as node_id,
        timestamp
    from sightings

),
-- depends_on: {{ ref('revetl', 'int_revetl__changed_messages') }}
{% endif %}

-- The one scan of the events: every trait is made of it.
events as (
    {% for source, names in sources.items() %}
    {{ 'union all' if not loop.first }}
    {{ revetl.read_for_traits(source, names, reads.columns, messages[source], is_patch) }}
    {% endfor %}
)

select * from events
