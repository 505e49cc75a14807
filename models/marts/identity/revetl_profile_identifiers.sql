{{ config(materialized=revetl.view_kind()) }}

with graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

numbered as (

    select
        canonical_id,
        identifier_type,
        identifier_value,
        first_seen_at,
        last_seen_at,
        row_number() over (
            partition by canonical_id, identifier_type
            order by
                first_seen_at,
                {{ revetl.by_code_point('identifier_value') }}
        ) as identifier_number
    from graph

)

select * from numbered
