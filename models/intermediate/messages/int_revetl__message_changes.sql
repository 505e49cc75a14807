{# Staging models write into it, before they patch their tables. #}
{{ config(materialized='made_once', tags=['identity_increment']) }}

with message_changes as (

    select
        cast(null as {{ revetl.type_of('varchar') }}) as source,
        cast(null as {{ revetl.type_of('varchar') }}) as message_id,
        cast(null as {{ revetl.type_of('timestamp') }}) as timestamp,
        cast(null as {{ revetl.type_of('varchar') }}) as batch
    from (select 1 as one) as nothing
    where {{ revetl.never() }}

)

select * from message_changes
