{# What of the components as the last build left them is to be made anew. Every part that a removed pair
   leaves behind has one of the pair's ends, and every component that a new pair joins has one too, so the
   components with a changed identifier are all of them, in whichever state a build that failed has left them.

   A pair that was known and within one profile, and has only been seen again later, groups nobody differently: of its
   identifiers, only the last moment they were seen changes. It was known where it was seen before all that is new of it. #}
{{ config(tags=['identity_increment']) }}

{% set increment = revetl.identity_increment() %}
{% set components = revetl.relation_there('int_revetl__identity_components') if increment else none %}
{% set graph = revetl.relation_there('int_revetl__identity_graph') if increment else none %}

with changes as (

    select * from {{ ref('revetl', 'int_revetl__identity_changes') }}
    {% if components is none %}
    -- Everything is made anew.
    where {{ revetl.never() }}
    {% endif %}

),

changed_pairs as (

    select
        left_node,
        right_node,
        case when source in ('alias', 'cut') then source else 'seen' end as kind,
        min(timestamp) as first_changed_at,
        max(case when change = 'gone' or source = 'cut' then 1 else 0 end) as has_lost
    from changes
    group by
        left_node,
        right_node,
        case when source in ('alias', 'cut') then source else 'seen' end

),

{% if graph is not none -%}
known_pairs as (

    select
        pairs.left_node,
        pairs.right_node,
        changed_pairs.kind
    from {{ ref('revetl', 'int_revetl__identity_pairs') }} as pairs
    inner join changed_pairs
        on
            pairs.left_node = changed_pairs.left_node
            and pairs.right_node = changed_pairs.right_node
            and case when pairs.source in ('alias', 'cut') then pairs.source else 'seen' end = changed_pairs.kind
    where
        changed_pairs.has_lost = 0
        and pairs.first_seen_at < changed_pairs.first_changed_at

),

-- Those that limits or cuts keep apart are among the conflicts, with when they were last seen.
seen_again as (

    select distinct
        known_pairs.left_node,
        known_pairs.right_node,
        known_pairs.kind
    from known_pairs
    inner join {{ graph }} as left_end
        on known_pairs.left_node = left_end.node_id
    inner join {{ graph }} as right_end
        on known_pairs.right_node = right_end.node_id
    where left_end.profile_node = right_end.profile_node

),
{%- else -%}
seen_again as (

    select
        left_node,
        right_node,
        kind
    from changed_pairs
    where {{ revetl.never() }}

),
{%- endif %}

graded as (

    select
        changed_pairs.left_node,
        changed_pairs.right_node,
        changed_pairs.has_lost,
        case when seen_again.kind is null then 1 else 0 end as regroups
    from changed_pairs
    left join seen_again
        on
            changed_pairs.left_node = seen_again.left_node
            and changed_pairs.right_node = seen_again.right_node
            and changed_pairs.kind = seen_again.kind

),

changed as (

    select
        left_node as node_id,
        has_lost,
        regroups
    from graded
    union all
    select
        right_node as node_id,
        has_lost,
        regroups
    from graded

),

all_identifiers as (

    select
        node_id,
        max(has_lost) as has_lost,
        max(regroups) as regroups
    from changed
    group by node_id

),

identifiers as (

    select
        node_id,
        has_lost
    from all_identifiers
    where regroups = 1

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

regrouped as (

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
        regrouped.node_id,
        case
            when regrouped.component_id is null or regrouped.has_lost = 1 then regrouped.node_id
            else regrouped.component_id
        end as label,
        {{ revetl.truth('lost.node_id is null or kept.node_id is not null') }} as is_seen,
        {{ revetl.truth('identifiers.node_id is not null') }} as is_changed,
        {{ revetl.truth('true') }} as is_regrouped
    from regrouped
    left join identifiers
        on regrouped.node_id = identifiers.node_id
    left join lost
        on regrouped.node_id = lost.node_id
    left join kept
        on regrouped.node_id = kept.node_id
    union all
    select
        all_identifiers.node_id,
        all_identifiers.node_id as label,
        {{ revetl.truth('true') }} as is_seen,
        {{ revetl.truth('false') }} as is_changed,
        {{ revetl.truth('false') }} as is_regrouped
    from all_identifiers
    left join regrouped
        on all_identifiers.node_id = regrouped.node_id
    where regrouped.node_id is null

)

select * from labelled
