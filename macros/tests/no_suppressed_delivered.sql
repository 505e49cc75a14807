{# Nobody in `suppressions` is held of this audience: at the destination `to`, or without it at any it was ever sent
   to. By the key and the identifiers and fields that were delivered, and, where a person is still in the audience, by
   any of its columns. One row a sync and key. #}
{% test no_suppressed_delivered(model, key, to=none) %}
{{ config(severity='warn', tags=['delivery']) }}
{% set audience = revetl.tested_audience() %}
{% set of_the_audience %}
    {%- if to is not none -%}
    sync = {{ revetl.tested_sync(to).name }}
    {%- else -%}
    {{ revetl.audience_of('sync') }} = '{{ audience.name if audience }}'
    {%- endif -%}
{% endset %}
with held_identifiers as (
{{ revetl.held_identifiers() }}
),

suppressed_by_identifier as (
{{ revetl.suppressed_and_held('held_identifiers', revetl.state_table('suppressions')) }}
),

suppressed_by_column as (
{{ revetl.suppressed_members(key) }}
),

found as (

    select
        sync,
        {{ revetl.quoted('key') }}
    from suppressed_by_identifier
    where {{ of_the_audience }}
    {{ revetl.union_distinct() }}
    select
        held.sync,
        held.{{ revetl.quoted('key') }}
    from {{ revetl.state_table('sync_state') }} as held
    inner join suppressed_by_column
        on held.{{ revetl.quoted('key') }} = suppressed_by_column.{{ revetl.quoted('key') }}
    where {{ of_the_audience }}

)

select * from found
{% endtest %}
