{# All traits of profiles or accounts, by the CTE `event_traits`: CTEs of which the last, `computed`, has one row of `key`,
   with what SQL models and expressions make of them beside it. #}
{% macro traits_together(of, key) %}
    {% set traits = revetl.traits(of=of) %}
    {% set of_messages = revetl.traits(revetl.message_trait_types(), of) %}
    {% set models = {} %}
    {% for trait in revetl.traits(['sql'], of) %}
        {% do models.setdefault(trait.model, trait.key) %}
    {% endfor %}
{% for model in models %}
{{ model }} as (

    select * from {{ ref(model) }}

),
{% endfor %}

{% if models %}
known as (

    select {{ key }} from event_traits
    {%- for model, model_key in models.items() %}
    {{ revetl.union_distinct() }}
    select {{ revetl.quoted(model_key) }} from {{ model }}
    {%- endfor %}

),
{% endif %}

{% set people = 'known' if models else 'event_traits' %}
gathered as (

    select
        {{ people }}.{{ key }}
        {%- for trait in of_messages %},
        {%- if trait.type == 'days_since' %}
        cast(
            floor({{ revetl.days_between('event_traits.' ~ trait.name, revetl.as_of()) }}) as {{ revetl.type_of(trait.data_type) }}
        ) as {{ trait.name }}
        {%- else %}
        event_traits.{{ trait.name }}
        {%- endif %}
        {%- endfor %}
        {%- for trait in traits if trait.type == 'sql' %},
        cast({{ trait.model }}.{{ revetl.quoted(trait.column) }} as {{ revetl.type_of(trait.data_type) }}) as {{ trait.name }}
        {%- endfor %}
    from {{ people }}
    {%- if models %}
    left join event_traits
        on known.{{ key }} = event_traits.{{ key }}
    {%- endif %}
    {%- for model, model_key in models.items() %}
    left join {{ model }}
        on known.{{ key }} = {{ model }}.{{ revetl.quoted(model_key) }}
    {%- endfor %}

),

{% set last = namespace(name='gathered') %}
-- Each expression may be of the traits before it.
{% for trait in traits if trait.type == 'expression' %}
with_{{ trait.name }} as (

    select
        {{ last.name }}.*,
        cast({{ trait.sql }} as {{ revetl.type_of(trait.data_type) }}) as {{ trait.name }}
    from {{ last.name }}

),

{% set last.name = 'with_' ~ trait.name %}
{% endfor %}
computed as (

    select
        {{ key }}
        {%- for trait in traits %},
        {{ trait.name }}
        {%- endfor %}
    from {{ last.name }}

)
{% endmacro %}
