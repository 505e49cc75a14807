{{ config(materialized='patched', key='identifier_id', stale='identity_touched', tags=['identity_increment']) }}

with components as (

    select * from {{ ref('identity_components') }}

),

all_pairs as (

    select * from {{ ref('identity_pairs') }}
    where source <> 'cut'

),

-- depends_on: {{ ref('identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('identity_touched') }}
    where is_seen

),

pairs as (

    select all_pairs.*
    from all_pairs
    inner join touched
        on all_pairs.left_id = touched.identifier_id

),
{% else %}
pairs as (

    select * from all_pairs

),
{% endif %}

ends as (

    select
        left_id as identifier_id,
        left_type as identifier_type,
        left_value as identifier_value,
        first_seen_at,
        last_seen_at
    from pairs
    union all
    select
        right_id as identifier_id,
        right_type as identifier_type,
        right_value as identifier_value,
        first_seen_at,
        last_seen_at
    from pairs
    where left_id <> right_id

),

seen as (

    select
        identifier_id,
        min(identifier_type) as identifier_type,
        min(identifier_value) as identifier_value,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from ends
    group by identifier_id

),

identifiers as (

    select
        seen.*,
        components.component_id
    from seen
    inner join components
        on seen.identifier_id = components.node_id

)

select * from identifiers
