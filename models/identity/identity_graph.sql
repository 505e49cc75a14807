with identifiers as (

    select * from {{ ref('identity_identifiers') }}

),

components as (

    select * from {{ ref('identity_components') }}

),

placed as (

    select
        identifiers.*,
        components.component_id
    from identifiers
    inner join components
        on identifiers.identifier_id = components.node_id

),

-- The oldest identifier of a component names it, so that a merge keeps the older profile's id.
named as (

    select
        *,
        first_value(identifier_id) over (
            partition by component_id
            order by
                first_seen_at,
                {{ revetl.identifier_rank('identifier_type') }},
                identifier_value
        ) as canonical_id
    from placed

),

graph as (

    select
        identifier_id,
        identifier_type,
        identifier_value,
        canonical_id,
        first_seen_at,
        last_seen_at
    from named

)

select * from graph
