{{ config(materialized='merge_history', tags=['identity_increment']) }}

with whole_graph as (

    select * from {{ ref('identity_graph') }}

),

-- depends_on: {{ ref('identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('identity_touched') }}

),

graph as (

    select whole_graph.*
    from whole_graph
    inner join touched
        on whole_graph.identifier_id = touched.identifier_id

),
{% else %}
graph as (

    select * from whole_graph

),
{% endif %}

aged as (

    select
        identifier_id,
        canonical_id,
        first_seen_at,
        row_number() over (
            partition by canonical_id
            order by
                first_seen_at,
                {{ revetl.identifier_rank('identifier_type') }},
                identifier_value
        ) as age
    from graph

),

pairs as (

    select
        left_id,
        right_id,
        min(first_seen_at) as first_seen_at
    from {{ ref('identity_pairs') }}
    where source <> 'cut' and left_id <> right_id
    group by
        left_id,
        right_id

),

edges as (

    select
        left_end.canonical_id,
        case when left_end.age < right_end.age then left_end.identifier_id else right_end.identifier_id end as older_id,
        least(left_end.age, right_end.age) as older_age,
        case when left_end.age < right_end.age then right_end.identifier_id else left_end.identifier_id end as younger_id,
        greatest(left_end.age, right_end.age) as younger_age,
        greatest(left_end.first_seen_at, right_end.first_seen_at) as younger_seen_at,
        pairs.first_seen_at
    from pairs
    inner join aged as left_end
        on pairs.left_id = left_end.identifier_id
    inner join aged as right_end
        on pairs.right_id = right_end.identifier_id and left_end.canonical_id = right_end.canonical_id

),

-- An identifier whose first message already has an older one is born into a profile: that is no merge.
numbered as (

    select
        *,
        row_number() over (
            partition by younger_id
            order by
                first_seen_at,
                older_age
        ) as edge_number
    from edges

),

marked as (

    select
        canonical_id,
        older_id,
        older_age,
        younger_id,
        younger_age,
        first_seen_at,
        edge_number = 1 and first_seen_at = younger_seen_at as is_birth
    from numbered

),

births as (

    select
        canonical_id,
        count(*) as born_count
    from marked
    where is_birth
    group by canonical_id

),

sizes as (

    select
        canonical_id,
        count(*) as identifier_count
    from aged
    group by canonical_id

),

-- Where all but one were born into it, nothing was merged.
merged as (

    select sizes.canonical_id
    from sizes
    left join births
        on sizes.canonical_id = births.canonical_id
    where sizes.identifier_count > 1 + coalesce(births.born_count, 0)

),

links as (

    select marked.*
    from marked
    inner join merged
        on marked.canonical_id = merged.canonical_id

)

select * from links
