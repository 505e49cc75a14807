{{ config(materialized=revetl.view_kind()) }}

with changed_messages as (

    select
        source,
        message_id,
        timestamp
    from {{ ref('revetl', 'int_revetl__message_changes') }}
    {{ revetl.union_distinct() }}
    select
        source,
        message_id,
        timestamp
    from {{ ref('revetl', 'int_revetl__identity_changes') }}

)

select * from changed_messages
