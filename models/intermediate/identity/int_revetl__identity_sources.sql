{{ config(materialized=revetl.view_kind()) }}

{% set rules = revetl.identity_rules() %}
{% set columns = revetl.identifier_columns(rules) %}

with messages as (

    {% for model, seen in rules.models.items() %}
    select
        '{{ seen.source }}' as source,
        cast({{ seen.message_id }} as {{ revetl.type_of('varchar') }}) as message_id,
        {%- for column in columns %}
        {{ revetl.first_of(seen.identifiers.get(column.name, [])) }} as {{ column.name }},
        {%- endfor %}
        {{ seen.timestamp }} as timestamp
    from {{ revetl.model_or_source(model) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select * from messages
