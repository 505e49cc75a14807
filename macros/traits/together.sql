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
        {{ revetl.safe_cast(trait.model ~ '.' ~ revetl.quoted(trait.column), trait.data_type) }} as {{ trait.name }}
        {%- endfor %},
        {%- set unfit = {} %}
        {%- for trait in traits if trait.type == 'sql' and trait.data_type not in ['varchar', 'double', 'boolean'] %}
        {%- set column = trait.model ~ '.' ~ revetl.quoted(trait.column) %}
        {%- do unfit.update({trait.name: column ~ ' is not null and '
            ~ revetl.safe_cast(column, trait.data_type) | trim ~ ' is null'}) %}
        {%- endfor %}
        {{ revetl.unfit_names(unfit, 'event_traits.unfit_traits') }} as unfit_before
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
        {{ revetl.safe_cast('(' ~ trait.sql ~ ')', trait.data_type) }} as {{ trait.name }}
    from {{ last.name }}

),

{% set last.name = 'with_' ~ trait.name %}
{% endfor %}
{%- set unfit = revetl.unfit_expressions(traits) %}
computed as (

    select
        {{ key }}
        {%- for trait in traits %},
        {%- if trait.name in unfit %}
        {{ revetl.value_if('not (' ~ unfit[trait.name] ~ ')', trait.name, trait.data_type) }} as {{ trait.name }}
        {%- else %}
        {{ trait.name }}
        {%- endif %}
        {%- endfor %},
        {{ revetl.unfit_names(unfit, 'unfit_before') }} as unfit_traits
    from {{ last.name }}

)
{% endmacro %}

{# Expressions by the condition that one does not fit its type, or a trait that it is made of does not. #}
{% macro unfit_expressions(traits) %}
    {% set all = {} %}
    {% set found = {} %}
    {% for trait in traits if trait.type != 'expression' and (trait.type == 'sql' or revetl.may_be_unfit(trait))
        and trait.data_type not in ['varchar', 'double', 'boolean'] %}
        {% do all.update({trait.name: revetl.is_among(trait.name, 'unfit_before')}) %}
    {% endfor %}
    {% for trait in traits if trait.type == 'expression' %}
        {% set parts = [] %}
        {% if trait.data_type not in ['varchar', 'double', 'boolean'] %}
            {% do parts.append('((' ~ trait.sql ~ ') is not null and ' ~ trait.name ~ ' is null)') %}
        {% endif %}
        {% for name, condition in all.items() if modules.re.search('\\b' ~ name ~ '\\b', trait.sql) %}
            {% do parts.append(condition) %}
        {% endfor %}
        {% if parts %}
            {% do found.update({trait.name: parts | unique | join(' or ')}) %}
            {% do all.update({trait.name: found[trait.name]}) %}
        {% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{# A trait of `revetl_computed_traits`, or what it is of somebody of whom it is not known; null where it does not fit. #}
{% macro known_or_default(trait) %}
    {% set made = revetl.trait_default(trait, 'computed_traits.' ~ trait.name) %}
    {% if trait.default is none or trait.data_type == 'boolean' or trait.type in ['count', 'unique_list_count', 'funnel'] %}
        {{ return(made) }}
    {% endif %}
    {{ return(revetl.value_if(
        'not ' ~ revetl.is_among(trait.name, 'computed_traits.unfit_traits'), made, trait.data_type)) }}
{% endmacro %}
