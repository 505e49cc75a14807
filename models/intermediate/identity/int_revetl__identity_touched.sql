{# What of the components as the last build left them is to be made anew. Every part that a removed pair
   leaves behind has one of the pair's ends, and every component that a new pair joins has one too, so the
   components with a changed identifier are all of them, in whichever state a build that failed has left them. #}
{{ config(tags=['identity_increment']) }}

{% set increment = revetl.identity_increment() %}
{% set components = revetl.relation_there('int_revetl__identity_components') if increment else none %}

with changes as (

    select * from {{ ref('revetl', 'int_revetl__identity_changes') }}
    {% if components is none %}
    -- Everything is made anew.
    where {{ revetl.never() }}
    {% endif %}

),

changed as (

    select
        left_node as node_id,
        change,
        source
    from changes
    union all
    select
        right_node as node_id,
        change,
        source
    from changes

),

identifiers as (

    select
        node_id,
        max(case when change = 'gone' or source = 'cut' then 1 else 0 end) as has_lost
    from changed
    group by node_id

),

-- Where a pair is gone, its identifiers may be too; and a cut may name one that was never seen.
lost as (

    select node_id
    from identifiers
    where has_lost = 1

),

kept as (

    select pairs.left_node as node_id
    from {{ ref('revetl', 'int_revetl__identity_pairs') }} as pairs
    inner join lost
        on pairs.left_node = lost.node_id
    where pairs.source <> 'cut'
    {{ revetl.union_distinct() }}
    select pairs.right_node as node_id
    from {{ ref('revetl', 'int_revetl__identity_pairs') }} as pairs
    inner join lost
        on pairs.right_node = lost.node_id
    where pairs.source <> 'cut'

),

changed_components as (

    select
        components.component_id,
        max(identifiers.has_lost) as has_lost
    from {{ components or '(select node_id, node_id as component_id from changed)' }} as components
    inner join identifiers
        on components.node_id = identifiers.node_id
    group by components.component_id

),

members as (

    select
        components.node_id,
        components.component_id,
        changed_components.has_lost
    from {{ components or '(select node_id, node_id as component_id from changed)' }} as components
    inner join changed_components
        on components.component_id = changed_components.component_id

),

touched as (

    select
        coalesce(members.node_id, identifiers.node_id) as node_id,
        members.component_id,
        coalesce(members.has_lost, 0) as has_lost
    from members
    full outer join identifiers
        on members.node_id = identifiers.node_id

),

-- A component that lost nothing stays whole: it is one node of what is to be connected.
labelled as (

    select
        touched.node_id,
        case
            when touched.component_id is null or touched.has_lost = 1 then touched.node_id
            else touched.component_id
        end as label,
        {{ revetl.truth('lost.node_id is null or kept.node_id is not null') }} as is_seen,
        {{ revetl.truth('identifiers.node_id is not null') }} as is_changed
    from touched
    left join identifiers
        on touched.node_id = identifiers.node_id
    left join lost
        on touched.node_id = lost.node_id
    left join kept
        on touched.node_id = kept.node_id

)

select * from labelled
