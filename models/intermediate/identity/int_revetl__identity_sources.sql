{# A build that patches looks only at what may have changed: see `identity_parts`. #}
{{ config(materialized=revetl.view_kind()) }}

{% set rules = revetl.identity_rules() %}
{% set columns = revetl.identifier_columns(rules) %}
{% set increment = revetl.identity_increment() %}
{% set parts = revetl.identity_parts(revetl.changed_days()) if increment else [] %}
{% set changes = ref('revetl', 'int_revetl__message_changes') %}

{# What this view reads is decided as it is built: so it is downstream of the lists, and `--select cut_edges+`
   makes it again together with what it is compared with. #}
{% if model.resource_type != 'unit_test' %}
{% set lists = [revetl.identity_list('cut_edges'), revetl.identity_list('blocked_identifiers')] %}
{% endif %}
-- depends_on: {{ ref('revetl', 'int_revetl__identity_days') }}
with messages as (

    {% for model, seen in rules.models.items() %}
    {%- set part = revetl.identity_part_of(seen.source, parts) %}
    select
        '{{ seen.source }}' as source,
        cast({{ seen.message_id }} as {{ revetl.type_of('varchar') }}) as message_id,
        {%- for column in columns %}
        {{ revetl.first_of(seen.identifiers.get(column.name, [])) }} as {{ column.name }},
        {%- endfor %}
        {{ seen.timestamp }} as timestamp
    from {{ revetl.model_or_source(model) }} as seen -- noqa: AL05
    {%- if increment and part is none %}
    where {{ revetl.never() }}
    {%- elif increment and part.by == 'changes' %}
    where exists (
            select 1 from {{ changes }} as changes
            where
                changes.source = '{{ seen.source }}'
                and changes.message_id = seen.message_id
                and changes.timestamp = seen.timestamp
        )
    {%- elif increment and part.by is not none %}
    where {{ revetl.is_on_days(seen.timestamp, part.by) }}
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

texts as (

    select
        source,
        message_id,
        {%- for column in columns %}
        cast({{ column.name }} as {{ revetl.type_of('varchar') }}) as {{ column.name }},
        {%- endfor %}
        timestamp
    from messages

),

-- An object is never an identifier, and each engine writes it with its own spaces and order.
without_objects as (

    select
        source,
        message_id,
        {%- for column in columns %}
        case
            when not {{ revetl.is_object_or_array(column.name) }} then {{ column.name }}
        end as {{ column.name }},
        {%- endfor %}
        timestamp
    from texts

)

select * from without_objects
