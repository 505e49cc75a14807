{{ config(materialized='merge_history', tags=['identity_increment']) }}

with whole_graph as (

    select
        node_id,
        profile_node,
        first_seen_at,
        {{ revetl.identifier_rank('identifier_type') }} as priority
    from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

all_pairs as (

    select
        left_node,
        right_node,
        first_seen_at
    from {{ ref('revetl', 'int_revetl__identity_pairs') }}
    where source <> 'cut' and left_node <> right_node

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}
    where {{ revetl.is_true('is_regrouped') }}

),

graph as (

    select whole_graph.*
    from whole_graph
    inner join touched
        on whole_graph.node_id = touched.node_id

),

pairs as (

    select * from all_pairs
    where left_node in (select touched.node_id from touched)

),
{% else %}
graph as (

    select * from whole_graph

),

pairs as (

    select * from all_pairs

),
{% endif %}

edges as (

    select
        left_end.profile_node,
        left_end.node_id as left_node,
        left_end.first_seen_at as left_seen_at,
        right_end.node_id as right_node,
        right_end.first_seen_at as right_seen_at,
        {% set is_left_older -%}
        left_end.first_seen_at < right_end.first_seen_at
        or (
            left_end.first_seen_at = right_end.first_seen_at
            and (
                left_end.priority < right_end.priority
                or (left_end.priority = right_end.priority and left_end.node_id < right_end.node_id)
            )
        )
        {%- endset -%}
        {{ revetl.truth(is_left_older) }} as is_left_older,
        pairs.first_seen_at
    from pairs
    inner join graph as left_end
        on pairs.left_node = left_end.node_id
    inner join graph as right_end
        on pairs.right_node = right_end.node_id
    where left_end.profile_node = right_end.profile_node

),

directed as (

    select
        profile_node,
        case when {{ revetl.is_true('is_left_older') }} then left_node else right_node end as older_node,
        case when {{ revetl.is_true('is_left_older') }} then right_node else left_node end as younger_node,
        first_seen_at,
        {{ revetl.truth(
            'first_seen_at = case when ' ~ revetl.is_true('is_left_older') ~ ' then right_seen_at else left_seen_at end'
        ) }} as is_youngers_first
    from edges

),

-- An identifier whose first message already has an older one is born into a profile: that is no merge.
births as (

    select
        profile_node,
        count(distinct younger_node) as born_count
    from directed
    where {{ revetl.is_true('is_youngers_first') }}
    group by profile_node

),

sizes as (

    select
        profile_node,
        count(*) as identifier_count
    from graph
    group by profile_node

),

-- Where all but one were born into it, nothing was merged.
merged as (

    select sizes.profile_node
    from sizes
    left join births
        on sizes.profile_node = births.profile_node
    where sizes.identifier_count > 1 + coalesce(births.born_count, 0)

),

aged as (

    select
        graph.node_id,
        row_number() over (
            partition by graph.profile_node
            order by
                graph.first_seen_at,
                graph.priority,
                graph.node_id
        ) as age
    from graph
    inner join merged
        on graph.profile_node = merged.profile_node

),

numbered as (

    select
        directed.profile_node,
        directed.older_node,
        older.age as older_age,
        directed.younger_node,
        younger.age as younger_age,
        directed.first_seen_at,
        directed.is_youngers_first,
        row_number() over (
            partition by directed.younger_node
            order by
                directed.first_seen_at,
                older.age
        ) as edge_number
    from directed
    inner join aged as older
        on directed.older_node = older.node_id
    inner join aged as younger
        on directed.younger_node = younger.node_id

),

links as (

    select
        profile_node,
        older_node,
        older_age,
        younger_node,
        younger_age,
        min(first_seen_at) as first_seen_at,
        {{ revetl.truth(
            'max(case when edge_number = 1 and ' ~ revetl.is_true('is_youngers_first') ~ ' then 1 else 0 end) = 1'
        ) }} as is_birth
    from numbered
    group by
        profile_node,
        older_node,
        older_age,
        younger_node,
        younger_age

)

select * from links
