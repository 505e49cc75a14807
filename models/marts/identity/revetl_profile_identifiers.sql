{{ config(materialized=revetl.view_kind()) }}

with graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

nodes as (

    select
        node_id,
        last_seen_at
    from {{ ref('revetl', 'int_revetl__identity_nodes') }}

),

numbered as (

    select
        graph.canonical_id,
        graph.identifier_type,
        graph.identifier_value,
        graph.first_seen_at,
        nodes.last_seen_at,
        row_number() over (
            partition by graph.canonical_id, graph.identifier_type
            order by
                graph.first_seen_at,
                {{ revetl.by_code_point('graph.identifier_value') }}
        ) as identifier_number
    from graph
    inner join nodes
        on graph.node_id = nodes.node_id

)

select * from numbered
